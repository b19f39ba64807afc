// In the audio thread: gathers samples, and hands them on with the time at which the last one came.
const BLOCK = 512; // samples, 32 ms

class Ear extends AudioWorkletProcessor {
  #samples = new Float32Array(BLOCK);
  #filled = 0;

  constructor() {
    super();
    this.port.onmessage = () => (this.#filled = 0); // what is left of a session is no part of the next one
  }

  process([input]) {
    if (input.length === 0) return true; // nothing is connected
    this.#samples.set(input[0], this.#filled);
    this.#filled += input[0].length;
    if (this.#filled === BLOCK) {
      this.port.postMessage({ samples: this.#samples, at: Date.now() }, [this.#samples.buffer]);
      this.#samples = new Float32Array(BLOCK);
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("ear", Ear);
