// Video of an order while it comes: a player that reads it by itself waits for three seconds of it, or more.
"use strict"

const watching = (() => {
  const begun = new WeakSet()

  const once = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, { once: true }))

  // Which H.264 it is, as the beginning of the file says.
  function kind(beginning) {
    const at = String.fromCharCode(...beginning.subarray(0, 2000)).indexOf("avcC") + 5
    const hex = Array.from(beginning.subarray(at, at + 3), (each) => each.toString(16).padStart(2, "0"))
    return `video/mp4; codecs="avc1.${hex.join("")}"`
  }

  async function feed(source, address) {
    await once(source, "sourceopen")
    const reader = (await fetch(address)).body.getReader()
    let buffer = null
    for (let one = await reader.read(); !one.done; one = await reader.read()) {
      buffer ??= source.addSourceBuffer(kind(one.value))
      const taken = once(buffer, "updateend")
      buffer.appendBuffer(one.value)
      await taken
    }
  }

  function watch(player) {
    begun.add(player)
    const address = player.dataset.watch
    if (!window.MediaSource) return (player.src = address)
    const source = new MediaSource()
    player.src = URL.createObjectURL(source)
    // What came stays to be seen, whatever ends it.
    const end = () => source.readyState === "open" && source.endOfStream()
    feed(source, address).then(end, end)
  }

  return {
    // Show each video that is coming and is not shown yet.
    show() {
      for (const player of document.querySelectorAll("video[data-watch]")) if (!begun.has(player)) watch(player)
    },
  }
})()
