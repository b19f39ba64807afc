// The list of incidents, the newest first, MOST of them; of a recording all in its order, with a player for each onset.
import { player } from "./sound.js";

const BEFORE_S = 0.2, AFTER_S = 1.0; // of an onset, in a player
const MOST = 100; // of what is heard now: incidents that are listed, and onsets of one; a page may listen for days

const element = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });

/** Return a number of shots in words. */
export const counted = (count) => `${count} ${count === 1 ? "shot" : "shots"}`;

export class Incidents {
  #list; #none; #facts; #rows = new Map(); #gone = 0; #recording; #begun;

  constructor(list, none, facts) {
    this.#list = list;
    this.#none = none;
    this.#facts = facts;
  }

  /** Begin a session: of a recording with its samples, or of what is heard now, from a time on, ms since 1970. */
  begin({ recording, begun } = {}) {
    this.#recording = recording;
    this.#begun = begun;
    this.#rows.clear();
    this.#gone = 0;
    for (const audio of this.#list.querySelectorAll("audio")) URL.revokeObjectURL(audio.src);
    this.#list.replaceChildren();
    this.#none.hidden = false;
  }

  get shots() {
    return [...this.#rows.values()].reduce((sum, row) => sum + row.shots, this.#gone);
  }

  /** Show what a message tells. */
  show(message) {
    const row = this.#rows.get(message.incident) ?? this.#added(message.incident);
    row.shots = message.shots;
    const level = (message.spl_db - this.#facts.full_scale_db_spl).toFixed(1);
    row.title.textContent = counted(message.shots);
    row.words.textContent = ` ${this.#when(message.onset)}, ${level} dB of full scale, score ${message.score.toFixed(2)}, ${
      message.state === "closed" ? "closed" : "open"}`;
    for (const onset of message.onsets) this.#onset(row, onset);
  }

  #added(number) {
    const item = element("li"), title = element("b"), words = element("span"), onsets = element("ul");
    item.dataset.incident = number;
    item.append(title, words, onsets);
    onsets.hidden = !this.#recording; // who looks now needs no time of each shot
    if (this.#recording) this.#list.append(item);
    else this.#list.prepend(item);
    this.#none.hidden = true;
    const row = { item, title, words, onsets, shots: 0 };
    this.#rows.set(number, row);
    if (!this.#recording && this.#rows.size > MOST) this.#forget();
    return row;
  }

  #forget() {
    const [number, { item, shots }] = this.#rows.entries().next().value;
    this.#gone += shots;
    this.#rows.delete(number);
    item.remove();
  }

  #onset(row, onset) {
    const item = element("li"), rate = this.#facts.sr, at = `${(onset / rate).toFixed(3)} s`;
    item.dataset.onset = onset;
    if (this.#recording) {
      const audio = element("audio");
      const [from, to] = [onset - BEFORE_S * rate, onset + AFTER_S * rate];
      audio.src = player(this.#recording.subarray(Math.max(0, from), to), rate);
      audio.controls = true;
      audio.setAttribute("aria-label", `The shot at ${at}`);
      item.append(element("span", at), audio);
    }
    row.onsets.append(item);
    if (!this.#recording && row.onsets.childElementCount > MOST) row.onsets.firstElementChild.remove();
  }

  #when(onset) {
    const seconds = onset / this.#facts.sr;
    if (!this.#begun) return `from ${seconds.toFixed(2)} s`;
    return `at ${new Date(this.#begun + 1000 * seconds).toLocaleTimeString()}`;
  }
}
