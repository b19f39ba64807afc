// Live sound: its parts are played one after the other, as they come.
"use strict"

const hearing = (() => {
  const LEAD_S = 0.2 // before the first part is heard, so that the next may come a little late
  const MOST_S = 0.5 // of sound that waits to be heard; what comes beyond it is in the clip alone
  const context = new AudioContext()
  let source = null
  let end = 0
  let turn = Promise.resolve() // one part after the other

  async function play(content) {
    const sound = await context.decodeAudioData(Uint8Array.from(atob(content), (each) => each.charCodeAt(0)).buffer)
    if (context.state !== "running" || end > context.currentTime + MOST_S) return
    if (end < context.currentTime) end = context.currentTime + LEAD_S
    const part = new AudioBufferSourceNode(context, { buffer: sound })
    part.connect(context.destination)
    part.start(end)
    end += sound.duration
  }

  function say(words) {
    document.getElementById("hearing").textContent = words
  }

  function stop(words) {
    source.close()
    source = null
    say(words)
  }

  function hear({ hear, device }) {
    context.resume()
    if (source) return
    say(`Live from ${device}: it begins in a moment.`)
    source = new EventSource(`/orders/${hear}/live`)
    source.onmessage = ({ data }) => {
      say(`You hear ${device}, live.`)
      turn = turn.then(() => play(data))
    }
    source.addEventListener("end", () => stop("Live sound has ended; all of it is in the clip."))
    source.onerror = () => stop("The connection is lost: press the button again.")
  }

  document.addEventListener("click", ({ target }) => "hear" in target.dataset && hear(target.dataset))
  // Who asked for it hears it at once, where the browser allows sound.
  if (location.hash.startsWith("#order-")) document.querySelector(`${location.hash} [data-hear]`)?.click()
})()
