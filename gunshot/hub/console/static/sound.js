// The sound of a case that waits. Browsers allow sound only after a click: the page says whether it can be heard.
"use strict"

const alarm = (() => {
  const AGAIN_MS = 4000
  const context = new AudioContext()
  let until = 0

  function beep() {
    for (const [at, pitch] of [[0, 880], [0.25, 660], [0.5, 880], [0.75, 660]]) {
      const tone = new OscillatorNode(context, { type: "square", frequency: pitch })
      const loudness = new GainNode(context, { gain: 0.2 })
      tone.connect(loudness).connect(context.destination)
      tone.start(context.currentTime + at)
      tone.stop(context.currentTime + at + 0.2)
    }
  }

  function show() {
    const on = context.state === "running"
    document.getElementById("mute").classList.toggle("bad", !on)
    document.getElementById("heard").textContent = on
      ? "Sound is on."
      : "Sound is off: the browser allows none before a click."
  }

  setInterval(() => {
    if (Date.now() < until && context.state === "running") beep()
  }, AGAIN_MS)
  context.onstatechange = show
  document.getElementById("test-sound").onclick = () => context.resume().then(beep)
  show()

  return {
    // Be heard for so many seconds from now on.
    ring(seconds) {
      const before = until
      until = Date.now() + 1000 * seconds
      if (before < Date.now() && seconds > 0 && context.state === "running") beep()
    },
  }
})()
