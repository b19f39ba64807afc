// The map of devices and cases: tiles where the hub has an address of some, a plain grid otherwise.
"use strict"

const places = (() => {
  const element = document.getElementById("map")
  const Grid = L.GridLayer.extend({
    createTile() {
      const tile = document.createElement("div")
      tile.className = "grid"
      return tile
    },
  })
  const NAMED = 15 // the least zoom at which names of devices do not hide each other
  let map = null
  let shown = null

  function open(bounds) {
    map = L.map(element, { attributionControl: false, scrollWheelZoom: false, maxZoom: 19 })
    const tiles = element.dataset.tiles && JSON.parse(element.dataset.tiles)
    L.control.scale({ imperial: false }).addTo(map)
    if (tiles) {
      const credit = document.createElement("span")
      credit.textContent = tiles.attribution // text, whatever it holds
      L.tileLayer(tiles.url, { maxZoom: 19, attribution: credit.innerHTML }).addTo(map)
      L.control.attribution({ prefix: false }).addTo(map)
    } else new Grid().addTo(map)
    map.fitBounds(bounds.pad(0.2), { maxZoom: 17 })
    shown = L.layerGroup().addTo(map)
    const name = () => element.classList.toggle("far", map.getZoom() < NAMED)
    map.on("zoomend", name)
    name()
  }

  function named(text) {
    const label = document.createElement("span")
    label.textContent = text
    return label
  }

  function draw({ devices, cases }) {
    shown.clearLayers()
    for (const { name, at } of devices) {
      L.circleMarker(at, { radius: 6, className: "at-device" })
        .bindTooltip(named(name), { permanent: true, direction: "right", className: "name" })
        .addTo(shown)
    }
    for (const { number, state, at, outline } of cases) {
      if (outline.length) L.polygon(outline, { weight: 2, className: `at-case ${state}` }).addTo(shown)
      L.circleMarker(at, { radius: 7, weight: 2, className: `at-case ${state}` })
        .bindTooltip(named(`case ${number}, ${state}`))
        .on("click", () => location.assign(`/cases/${number}`))
        .addTo(shown)
    }
  }

  return {
    show() {
      if (!element) return
      const content = JSON.parse(document.getElementById("places").dataset.places)
      const points = [...content.devices, ...content.cases].map((each) => each.at)
      element.hidden = points.length === 0
      if (!points.length) return
      if (!map) open(L.latLngBounds(points))
      draw(content)
    },
  }
})()
