// What changes while a page is open: times in the reader's zone, what the hub got, and which cases wait.
"use strict"

const LOST_MS = 15000 // without an event, three times what the console leaves between two

const byId = (id) => document.getElementById(id)

function localise(root) {
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime)
    const day = at.toDateString() === new Date().toDateString() ? "" : at.toLocaleDateString("sv") + " "
    const exact = "exact" in time.dataset ? "." + String(at.getMilliseconds()).padStart(3, "0") : ""
    time.textContent = day + at.toLocaleTimeString("sv") + exact
    time.title = time.dateTime
  }
}

// Take from a page all but what a person works with: the map, a form, a player, what is unfolded.
function renew(page) {
  for (const id of ["live", "where", "more"]) {
    const [now, next] = [byId(id), page.getElementById(id)]
    if (!now || !next) continue
    for (const open of now.querySelectorAll("details[open]")) {
      const same = next.querySelector(`#${open.id}`)
      if (same) same.open = true
    }
    now.replaceWith(document.adoptNode(next))
    for (const player of now.querySelectorAll("audio, video")) byId(player.id)?.replaceWith(player) // it may be playing
    localise(byId(id))
  }
  const seen = document.querySelector("#decide [name=seen]")
  if (seen) seen.value = byId("live").dataset.seen
  places.show()
  watching.show()
}

async function reload() {
  const answer = await fetch(location.href)
  if (answer.redirected && new URL(answer.url).pathname === "/login") return location.assign("/login")
  if (answer.ok) renew(new DOMParser().parseFromString(await answer.text(), "text/html"))
}

function tell({ waiting, count, quiet }) {
  byId("quiet").hidden = !quiet
  const line = byId("waiting")
  line.hidden = count === 0
  line.replaceChildren(`${count} not acknowledged: `)
  for (const { number, site, exercise } of waiting.slice(0, 5)) {
    const link = document.createElement("a")
    link.href = `/cases/${number}`
    link.textContent = `case ${number}${site ? ", " + site : ""}${exercise ? " (DRILL)" : ""}`
    line.append(link, " ")
  }
  document.title = document.title.replace(/^\(\d+\) /, "")
  if (count) document.title = `(${count}) ${document.title}`
  alarm.ring(Math.max(0, ...waiting.map((each) => each.rings_s)))
}

function listen() {
  let token = null
  let heard = Date.now()
  const source = new EventSource("/events")
  source.onmessage = ({ data }) => {
    const news = JSON.parse(data)
    heard = Date.now()
    tell(news)
    if (news.token !== token) {
      token = news.token
      reload().catch(() => (token = null)) // the next event tries again
    }
  }
  setInterval(() => (byId("lost").hidden = source.readyState !== EventSource.CLOSED && Date.now() - heard < LOST_MS), 1000)
}

localise(document)
places.show()
watching.show()
listen()
