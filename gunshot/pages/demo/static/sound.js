// Sound in and out, at the detector's rate: the microphone as it sounds, a file whole, a player of a part.

/** What a browser does to a microphone's sound by itself, switched off. */
export const PROCESSING = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const NAMES = { echoCancellation: "echo cancellation", noiseSuppression: "noise suppression", autoGainControl: "gain control" };

const release = (stream) => stream?.getTracks().forEach((track) => track.stop());

/** The microphone and the loudspeaker of a page; `hears(samples, at)` gets the microphone's blocks. */
export class Sound {
  #rate; #hears; #context; #ear; #opened; #asked; #stream; #microphone; #playing; #awake;

  constructor(rate, hears) {
    this.#rate = rate;
    this.#hears = hears;
  }

  async #prepare() {
    this.#context = new AudioContext({ sampleRate: this.#rate });
    await this.#context.audioWorklet.addModule("ear.js");
    this.#ear = new AudioWorkletNode(this.#context, "ear", { channelCount: 1, channelCountMode: "explicit" });
    this.#ear.port.onmessage = ({ data }) => this.#microphone && this.#hears(data.samples, data.at); // none after `close`
    this.#ear.connect(this.#context.destination); // it is silent, and runs because of this
  }

  async #open() {
    await (this.#opened ??= this.#prepare()); // once, whoever asks meanwhile
    await this.#context.resume();
  }

  get listening() {
    return Boolean(this.#microphone);
  }

  /**
   * Ask for the microphone. Resolves to what processing the browser does all the same, by name; calls `ended` where it
   * goes. What the browser gives after `close`, or after another `ask`, is let go of at once.
   */
  async ask(ended) {
    if (!navigator.mediaDevices) throw new Error("a browser gives the microphone to https: and localhost alone");
    const own = (this.#asked = Symbol());
    await this.#open();
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...PROCESSING } });
    if (own !== this.#asked) return release(stream), [];
    release(this.#stream);
    this.#stream = stream;
    const [track] = stream.getAudioTracks(), settings = track.getSettings();
    track.onended = track.onmute = ended;
    this.#context.onstatechange = () => this.#context.state === "running" || ended();
    const awake = await navigator.wakeLock?.request("screen").catch(() => undefined); // or a phone would stop to listen
    if (own === this.#asked) this.#awake = awake;
    else awake?.release();
    return Object.keys(PROCESSING).filter((name) => settings[name]).map((name) => NAMES[name]);
  }

  /** Listen from now on. */
  listen() {
    this.#playing?.stop();
    try {
      this.#microphone = this.#context.createMediaStreamSource(this.#stream);
    } catch (error) {
      throw new Error(`this browser gives no microphone at ${this.#rate / 1000} kHz, try another one (${error.message})`);
    }
    this.#microphone.connect(this.#ear);
  }

  /** Play samples. */
  async play(samples) {
    await this.#open();
    this.#playing?.stop();
    this.#playing = this.#context.createBufferSource();
    this.#playing.buffer = new AudioBuffer({ length: samples.length, sampleRate: this.#rate });
    this.#playing.buffer.copyToChannel(samples, 0);
    this.#playing.connect(this.#context.destination);
    this.#playing.start();
  }

  /** Let go of the microphone, and be still. */
  close() {
    this.#playing?.stop();
    this.#microphone?.disconnect();
    release(this.#stream);
    this.#awake?.release();
    this.#asked = this.#stream = this.#microphone = this.#playing = this.#awake = undefined;
    this.#ear?.port.postMessage("forget");
  }
}

/** Return a file's samples, mixed down and at a rate, as the browser decodes and resamples them [Float32Array]. */
export async function decoded(bytes, rate) {
  const buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  const out = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let i = 0; i < out.length; i++) out[i] += samples[i] / buffer.numberOfChannels;
  }
  return out;
}

/** Return a wav of samples, as a URL for a player. */
export function player(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((one, i) => view.setUint8(at + i, one.charCodeAt(0)));
  text(0, "RIFF"), view.setUint32(4, 36 + 2 * samples.length, true), text(8, "WAVEfmt ");
  view.setUint32(16, 16, true), view.setUint16(20, 1, true), view.setUint16(22, 1, true);
  view.setUint32(24, rate, true), view.setUint32(28, 2 * rate, true), view.setUint16(32, 2, true), view.setUint16(34, 16, true);
  text(36, "data"), view.setUint32(40, 2 * samples.length, true);
  samples.forEach((one, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, one)) * 32767, true));
  return URL.createObjectURL(new Blob([view], { type: "audio/wav" }));
}
