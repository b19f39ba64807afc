// The page: what a person does, and what is shown of it.
import { counted } from "./incidents.js";
import { Sound, decoded } from "./sound.js";
import { Strip } from "./strip.js";
import { Version, lay } from "./version.js";

const PIECE = 16000, BLOCK = 512; // samples of a file that are heard at once; of a simulated shot, as of the microphone
const at = (id) => document.getElementById(id);
const facts = await (await fetch("demo.json")).json();
if (facts.versions.length > 1) lay();
const strip = new Strip(at("strip"), facts), versions = facts.versions.map((own, number) => new Version(own, facts, strip, number));
const each = (action) => Promise.all(versions.map(action));
let turn = 0; // of what a person asked for last: whatever they asked for before gives up
let shown = 0, asking; // the turns of the session that is shown, and of the last one to ask for the microphone
const sound = new Sound(facts.sr, tried(hear));

function says(text, listening = false) {
  at("state").textContent = text;
  at("state").classList.toggle("listening", listening);
}

function fault(error) {
  at("fault").hidden = !error;
  at("fault").textContent = error ? `${error.message ?? error}` : "";
}

/** Take the turn, and let go of the microphone. */
function take() {
  sound.close();
  at("listen").textContent = "Listen to the microphone";
  at("listen").setAttribute("aria-pressed", "false");
  at("processing").hidden = at("progress").hidden = true;
  return ++turn;
}

/** Begin a turn's session. */
async function begin(own, session) {
  fault();
  shown = own;
  strip.begin(session.frames);
  await each((version) => version.begin(session));
}

/** Show what each version answers, and how long after a time it does, ms since 1970. */
function show(answers, came) {
  versions.forEach((version, number) => version.show(answers[number], came));
}

/** Hear a block that came at a time, ms since 1970. */
async function hear(samples, came) {
  const own = shown, answers = await each((version) => version.hear(samples));
  if (own === shown) show(answers, came);
}

async function end() {
  const own = shown, answers = await each((version) => version.end());
  if (own === shown) show(answers);
}

async function stop() {
  take();
  says("Stopped");
  await end();
}

/** The browser has taken the microphone away: what it hears later does not follow what it heard before. */
async function interrupted() {
  if (!sound.listening) return;
  const stopped = stop();
  fault("The browser has paused the microphone. Listen again when you like.");
  await stopped;
}

async function listen() {
  if (sound.listening) return stop();
  if (asking === turn) return; // a second press while the browser asks
  const own = (asking = take());
  says("The browser asks for the microphone");
  const processed = await sound.ask(tried(interrupted));
  if (own !== turn) return;
  await begin(own, { begun: Date.now() });
  if (own !== turn) return;
  sound.listen();
  at("listen").textContent = "Stop";
  at("listen").setAttribute("aria-pressed", "true");
  at("processing").hidden = false;
  at("processing").textContent = processed.length
    ? `This browser goes on with ${processed.join(", ")}: it may swallow shots.`
    : "Echo cancellation, noise suppression and gain control are off.";
  says("Listening", true);
}

const until = (time) => new Promise((resolve) => setTimeout(resolve, time - performance.now()));

/** Play a simulated shot, and hear it as it sounds; while the microphone listens, that hears it. */
async function simulated(shot) {
  const own = sound.listening ? turn : take();
  const samples = await decoded(await (await fetch(shot.file)).arrayBuffer(), facts.sr);
  if (own !== turn) return;
  await sound.play(samples);
  if (own !== turn || sound.listening) return;
  await begin(own, { begun: Date.now(), frames: samples.length / facts.hop_length });
  const begun = performance.now();
  says(`Playing: ${shot.title}`);
  for (let i = 0; i < samples.length && own === turn; i += BLOCK) {
    await until(begun + (1000 * (i + BLOCK)) / facts.sr);
    if (own === turn) await hear(samples.slice(i, i + BLOCK), Date.now());
  }
  if (own !== turn) return;
  await end();
  if (own === turn) says(`Played: ${shot.title}`);
}

async function open(file) {
  const listened = sound.listening, own = take();
  says(`Decoding ${file.name}`);
  if (listened) await end();
  const samples = await decoded(await file.arrayBuffer(), facts.sr).catch(() => {
    throw new Error(`${file.name}: this browser cannot decode it`);
  });
  if (own !== turn) return;
  await begin(own, { recording: samples, frames: samples.length / facts.hop_length });
  if (own !== turn) return;
  let busy_ms = 0;
  at("progress").hidden = false;
  for (let i = 0; i < samples.length; i += PIECE) {
    const answers = await each((version) => version.hear(samples.subarray(i, i + PIECE)));
    if (own !== turn) return;
    show(answers);
    busy_ms += Math.max(...answers.map((answer) => answer.busy_ms));
    at("progress").value = i / samples.length;
  }
  const silence = new Float32Array(facts.after); // the last windows end behind the recording
  const last = await each((version) => version.hear(silence));
  if (own !== turn) return;
  show(last.map((answer) => ({ ...answer, codes: [] })));
  await end();
  if (own !== turn) return;
  at("progress").hidden = true;
  const times = `${(samples.length / facts.sr).toFixed(1)} s, heard in ${(busy_ms / 1000).toFixed(2)} s`;
  says(`${file.name}: ${versions.map(({ words }) => words).join(", ")} in ${times}`);
}

/** Return what does an action, and says why where it fails; of one that has lost its turn nobody asks. */
function tried(action) {
  return async (...args) => {
    const done = action(...args), own = turn; // an action takes its turn before it waits for anything
    try {
      await done;
    } catch (error) {
      if (own !== turn) return;
      take();
      says("Stopped");
      fault(error);
    }
  };
}

function prepare() {
  at("model").textContent = facts.versions.map(({ name, model }) => `${name}${name && " "}${model}`).join(", ");
  at("rate").textContent = `${facts.sr / 1000} kHz`;
  for (const shot of facts.shots) {
    const button = document.createElement("button"), note = document.createElement("small");
    button.type = "button";
    button.textContent = shot.title;
    note.textContent = `${counted(shot.shots)}${shot.detected ? "" : ", missed at the operating point"}`;
    button.append(note);
    button.onclick = tried(() => simulated(shot));
    at("simulated").append(button);
  }
  at("listen").onclick = tried(listen);
  const chosenFile = tried(open);
  at("file").onclick = () => (at("file").value = ""); // so that the same one may be chosen again
  at("file").onchange = () => at("file").files.length && chosenFile(at("file").files[0]);
  document.ondragover = (event) => (event.preventDefault(), document.body.classList.add("over"));
  document.ondragleave = () => document.body.classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    if (event.dataTransfer.files.length) chosenFile(event.dataTransfer.files[0]);
  };
  for (const id of ["listen", "file"]) at(id).disabled = false;
}

/** Have the page's files kept, for when there is no network; where a newer page was kept meanwhile, show that. */
function keep() {
  const keeper = navigator.serviceWorker, before = keeper?.controller;
  keeper?.addEventListener("controllerchange", () => before && turn === 0 && location.reload());
  keeper?.register("offline.js").catch(() => {}); // without a network there is nothing newer
  keeper?.ready.then(() => (at("offline").hidden = false));
}

tried(async () => {
  await each((version) => version.load());
  prepare();
  says("Ready");
  if (facts.offline) keep();
})();
