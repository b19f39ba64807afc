// A version of the detector and its part of the page: what it makes of the sound, and its threshold.
import { Detector } from "./detector.js";
import { Incidents, counted } from "./incidents.js";

const SECOND = "-2"; // behind each id of a second version's parts

/** Lay the parts of a second version beside those of the first. */
export function lay() {
  for (const beside of document.querySelectorAll(".beside")) {
    const copy = beside.firstElementChild.cloneNode(true);
    for (const each of [copy, ...copy.querySelectorAll("*")]) {
      for (const name of ["id", "for", "aria-labelledby"]) {
        if (each.hasAttribute(name)) each.setAttribute(name, each.getAttribute(name) + SECOND);
      }
    }
    beside.append(copy);
  }
  document.body.classList.add("two");
}

export class Version {
  #own; #page; #strip; #number; #detector = new Detector(); #incidents; #chosen;

  /** `own` are the facts of this version, `page` those of all; `number` is 0, or 1 of a second one. */
  constructor(own, page, strip, number) {
    Object.assign(this, { name: own.name });
    this.#own = own;
    this.#page = page;
    this.#strip = strip;
    this.#number = number;
    this.#incidents = new Incidents(this.#at("incidents"), this.#at("none"), page);
    this.#chosen = own.thresholds[own.operating];
  }

  #at = (id) => document.getElementById(this.#number ? id + SECOND : id);

  /** Take the module, and let a person choose the threshold. */
  async load() {
    await this.#detector.load(await (await fetch(this.#own.module)).arrayBuffer(), this.#page.n_mels);
    await this.#detector.begin(this.#chosen);
    this.#prepare();
    await this.#threshold(this.#own.operating, "");
  }

  #prepare() {
    const { name, thresholds, operating, sites } = this.#own, [slider, site] = [this.#at("threshold"), this.#at("site")];
    this.#at("name").textContent = name;
    this.#at("name").hidden = !name;
    for (const title of name ? ["incidents-title", "threshold-title"] : []) this.#at(title).textContent += `: ${name}`;
    slider.max = thresholds.length - 1;
    slider.oninput = () => this.#threshold(Number(slider.value));
    this.#at("operating").onclick = () => this.#threshold(operating, "");
    site.append(...sites.map((one) => new Option(one.site, one.index)));
    site.onchange = () => this.#threshold(site.value === "" ? operating : Number(site.value), site.value);
    this.#at("sites").hidden = sites.length === 0;
    slider.disabled = this.#at("operating").disabled = site.disabled = false;
  }

  /** Decide by a threshold. `where` is the option of the site that a person chose, "" of none; else of one that has it. */
  #threshold(index, where = String(index)) {
    this.#chosen = this.#own.thresholds[index];
    const { score } = this.#chosen, slider = this.#at("threshold"), site = this.#at("site");
    const words = `${score.toFixed(3)}${index === this.#own.operating ? ", the operating point" : ""}`;
    slider.value = index;
    slider.setAttribute("aria-valuetext", words);
    this.#at("opens").textContent = words;
    if (site.value !== where) site.value = where; // of two sites with one threshold that which was chosen
    if (site.selectedIndex < 0) site.value = "";
    this.#strip.thresholds[this.#number] = score;
    this.#strip.draw();
    return this.#detector.settings(this.#chosen);
  }

  /** How many shots it has heard, in words. */
  get words() {
    return `${this.name}${this.name && " "}${counted(this.#incidents.shots)}`;
  }

  /** Begin a session. */
  async begin(session) {
    for (const id of ["score", "decision", "latency"]) this.#at(id).textContent = "–";
    this.#at("shots").textContent = "0";
    this.#incidents.begin(session);
    await this.#detector.begin(this.#chosen);
  }

  /** Hear float samples in [-1, 1); resolves to what came of them. */
  hear = (samples) => this.#detector.hear(samples.slice());
  /** No sample will come. */
  end = () => this.#detector.end();

  /** Show what the detector answers, and how long after a time it does, ms since 1970. */
  show(answer, came) {
    this.#strip.add(answer, this.#number);
    const window = answer.windows.at(-1);
    if (window) this.#at("score").textContent = window.score.toFixed(2);
    for (const message of answer.incidents) {
      this.#incidents.show(message);
      if (message.onsets.length) {
        const last = message.onsets.at(-1);
        this.#at("decision").textContent = `${Math.round((1000 * (message.decided - last)) / this.#page.sr)} ms`;
        if (came) this.#at("latency").textContent = `${Date.now() - came} ms`;
      }
    }
    this.#at("shots").textContent = this.#incidents.shots;
  }
}
