import type { GivenFile } from "./open-host.ts";

/** What is too large for an address stays in this browser. */
const [DATABASE, STORE, KEPT] = ["iommu-lab", "files", 16];

const asked = async <T>(request: IDBRequest<T>): Promise<T> => new Promise((done, fail) => {
  request.onsuccess = () => { done(request.result); };
  request.onerror = () => { fail(request.error ?? new Error("The browser keeps nothing.")); };
});

const store = async (mode: IDBTransactionMode): Promise<IDBObjectStore> => {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => { opening.result.createObjectStore(STORE); };
  return (await asked(opening)).transaction(STORE, mode).objectStore(STORE);
};

/** Files of this tab, for browsers that keep nothing. */
const here = new Map<string, GivenFile>();

/** Keeps a file; the oldest ones go. @returns the name by which it is found again */
export const keepFile = async (file: GivenFile): Promise<string> => {
  const id = `${Date.now().toString(36)}-${crypto.randomUUID().slice(0, 8)}`;
  here.set(id, file);
  try {
    const files = await store("readwrite");
    await asked(files.put(file, id));
    const keys = (await asked(files.getAllKeys())).map(String).toSorted();
    for (const old of keys.slice(0, Math.max(0, keys.length - KEPT))) files.delete(old);
  } catch {
    // Private windows may refuse; the file is in this tab all the same.
  }
  return id;
};

/** A kept file; nothing when this browser has none of that name. */
export const keptFile = async (id: string): Promise<GivenFile | undefined> => {
  const known = here.get(id);
  if (known) return known;
  try {
    return (await asked((await store("readonly")).get(id))) as GivenFile | undefined;
  } catch {
    return undefined;
  }
};
