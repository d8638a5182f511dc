import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { ModuleMap } from "./modules.ts";
import type { Job, Report } from "./worker.ts";

/** How a run ended. */
export interface Outcome {
  /** The test that failed, "time" when one did not end; undefined when all passed. */
  readonly killedBy: string | undefined;
  /** The file that test is in. */
  readonly file: string | undefined;
  readonly error: string | undefined;
  /** Milliseconds of each file that ended. */
  readonly times: ReadonlyMap<string, number>;
}

/** So many times its limit a file may take by the clock. */
const PATIENCE = 20;

/** One worker, replaced when a mutant keeps it. */
export class Runner {
  readonly #data: { readonly modules: ModuleMap; readonly seed: number };
  #worker: Worker | undefined;
  /** Takes what the worker reports about the job at hand. */
  #take: (message: Report) => void = () => undefined;

  constructor(modules: ModuleMap, seed: number) {
    this.#data = { modules, seed };
  }

  /** @param limitOf milliseconds of processor time that a test file may take */
  async run(job: Job, limitOf: (file: string) => number): Promise<Outcome> {
    const worker = (this.#worker ??= this.#start());
    const times = new Map<string, number>();
    let file: string | undefined;
    let started = 0;
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    return new Promise((resolve) => {
      const leave = (outcome: Omit<Outcome, "times">): void => {
        over = true;
        clearTimeout(timer);
        this.#take = () => undefined;
        resolve({ ...outcome, times });
      };
      const note = (): void => {
        if (file !== undefined) times.set(file, performance.now() - started);
      };
      /** Ends the worker once it has spent so much processor time on a file: on a busy machine the clock would end what passes. It counts a little, for what waits for ever. */
      const watch = async (watched: string, limit: number): Promise<void> => {
        const before = await worker.cpuUsage();
        let rest = limit;
        while (rest > 0) {
          await new Promise((elapsed) => (timer = setTimeout(elapsed, rest)));
          const { user, system } = await worker.cpuUsage(before);
          rest = limit - Math.max((user + system) / 1000, (performance.now() - started) / PATIENCE);
          if (over || file !== watched) return;
        }
        this.#worker = undefined;
        void worker.terminate();
        leave({ killedBy: "time", file, error: undefined });
      };
      this.#take = (message) => {
        note();
        if (message.kind === "done") {
          leave({ killedBy: message.killedBy, file: message.file, error: message.error });
          return;
        }
        file = message.file;
        started = performance.now();
        clearTimeout(timer);
        // Of a worker that was ended meanwhile there is nothing to watch.
        watch(file, limitOf(file)).catch(() => undefined);
      };
      worker.postMessage(job);
    });
  }

  #start(): Worker {
    const worker = new Worker(join(import.meta.dirname, "worker.ts"), { workerData: this.#data, execArgv: [] });
    worker.on("message", (message: Report) => {
      if (worker === this.#worker) this.#take(message);
    });
    worker.on("error", (error) => {
      throw error;
    });
    return worker;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }
}
