// The firmware in a worker: samples in; frames, windows and incidents out. Nothing is decided here but in its C.
import { incident } from "./message.js";

const ROOM = 4096; // samples that `hear` of firmware/ports/web/page.c takes at once
const RINT = 2 ** 52 + 2 ** 51; // what is added and taken away leaves the nearest whole number, the even one of two
let firmware, bands, session = 0, frames = 0, codes = [], windows = [], incidents = [];

const page = {
  frame(at) {
    codes.push(new Int8Array(firmware.memory.buffer.slice(at, at + bands)));
    frames += 1;
  },
  window: (logit, score) => windows.push({ frame: frames - 1, logit, score: score / 65535 }),
  message(at, size) {
    const one = incident(new Uint8Array(firmware.memory.buffer, at, size));
    if (one) incidents.push(one);
  },
};

const does = {
  async load({ module, n_mels }) {
    bands = n_mels;
    firmware = (await WebAssembly.instantiate(module, { page })).instance.exports;
    return {};
  },
  begin({ settings }) {
    frames = 0;
    const status = firmware.begin(++session);
    if (status !== 0) throw new Error(`status ${status} of the firmware must be 0`);
    does.settings({ settings });
    return drained();
  },
  settings: ({ settings }) => firmware.settings(settings.on, settings.off, settings.even),
  hear({ samples }) {
    const begun = performance.now();
    for (let i = 0; i < samples.length; i += ROOM) {
      const part = samples.subarray(i, i + ROOM);
      const room = new Int16Array(firmware.memory.buffer, firmware.input(), ROOM);
      for (let k = 0; k < part.length; k++) room[k] = whole(part[k]);
      firmware.hear(part.length);
    }
    return { ...drained(), samples: samples.length, busy_ms: performance.now() - begun };
  },
  end() {
    firmware.end();
    return drained();
  },
};

// As gunshot/base/audio.py: rounded, and clipped at full scale.
const whole = (sample) => Math.max(-32768, Math.min(32767, sample * 32768 + RINT - RINT)) | 0;

function drained() {
  const out = { codes, windows, incidents };
  [codes, windows, incidents] = [[], [], []];
  return out;
}

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, ...(await does[data.kind](data)) });
  } catch (error) {
    postMessage({ id: data.id, fault: String(error.message ?? error) });
  }
};
