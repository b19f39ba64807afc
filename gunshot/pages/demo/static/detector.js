// The worker's side of a page: calls that are promises, answered in the order in which they were asked.
export class Detector {
  #worker = new Worker("worker.js", { type: "module" });
  #waiting = new Map();
  #asked = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.fault) reject(new Error(data.fault));
      else resolve(data);
    };
  }

  #ask(kind, content, moved = []) {
    const id = ++this.#asked;
    this.#worker.postMessage({ id, kind, ...content }, moved);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** Take the module's bytes. */
  load = (module, n_mels) => this.#ask("load", { module, n_mels }, [module]);
  /** Begin a session at a threshold's settings. */
  begin = (settings) => this.#ask("begin", { settings });
  /** Decide by other settings from now on. */
  settings = (settings) => this.#ask("settings", { settings });
  /** Hear float samples in [-1, 1), which are gone then; resolves to what came of them. */
  hear = (samples) => this.#ask("hear", { samples }, [samples.buffer]);
  /** No sample will come. */
  end = () => this.#ask("end", {});
}
