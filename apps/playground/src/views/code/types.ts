import type { Mistake, Offer, Question, Reply } from "./types.worker.ts";

type Asked = Question extends infer Q ? (Q extends { readonly id: number } ? Omit<Q, "id"> : never) : never;

/** The compiler, in a worker of its own: it is large, and comes when the first question is asked. */
export interface Types {
  /** JavaScript of an experiment. */
  readonly compile: (source: string) => Promise<string>;
  readonly check: (source: string) => Promise<readonly Mistake[]>;
  /** What could stand at an offset. */
  readonly complete: (source: string, at: number) => Promise<readonly Offer[]>;
}

/** Starts nothing yet. */
export const openTypes = (): Types => {
  let worker: Worker | undefined;
  let last = 0;
  const waiting = new Map<number, (reply: Reply) => void>();
  const ask = async (question: Asked): Promise<Reply> => {
    if (!worker) {
      worker = new Worker(new URL("types.worker.ts", import.meta.url), { type: "module" });
      worker.onmessage = ({ data }: MessageEvent<Reply>) => {
        waiting.get(data.id)?.(data);
        waiting.delete(data.id);
      };
      worker.onerror = () => {
        for (const [id, done] of waiting) done({ id, error: "The compiler could not be loaded." });
        waiting.clear();
      };
    }
    const id = ++last;
    worker.postMessage({ ...question, id });
    const reply = await new Promise<Reply>((done) => { waiting.set(id, done); });
    if (reply.error !== undefined) throw new Error(reply.error);
    return reply;
  };
  return {
    compile: async (source) => (await ask({ kind: "compile", source })).code ?? "",
    check: async (source) => (await ask({ kind: "check", source })).mistakes ?? [],
    complete: async (source, at) => (await ask({ kind: "complete", source, at })).offers ?? [],
  };
};
