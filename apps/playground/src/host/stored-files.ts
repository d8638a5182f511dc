import { keep, kept, newName } from "../state/browser-store.ts";
import type { GivenFile } from "./open-host.ts";

/** Keeps a file that somebody gave. @returns the name by which it is found again */
export const keepFile = async (file: GivenFile): Promise<string> => {
  const id = newName();
  await keep("file", id, file);
  return id;
};

/** A kept file; nothing when this browser has none of that name. */
export const keptFile = async (id: string): Promise<GivenFile | undefined> => (await kept("file", id)) as GivenFile | undefined;
