/** What is too large for an address stays in this browser, in its IndexedDB: the last so many of each kind. */
const [DATABASE, STORE, KEPT] = ["iommu-lab", "files", 16];

/** What is kept: "file" for what somebody gave the page, "state" for what it shows. A file's name alone is its key: files that a browser keeps already are found by it. */
export type KeptKind = "file" | "state";

const asked = async <T>(request: IDBRequest<T>): Promise<T> => new Promise((done, fail) => {
  request.onsuccess = () => { done(request.result); };
  request.onerror = () => { fail(request.error ?? new Error("The browser keeps nothing.")); };
});

const open = async (mode: IDBTransactionMode): Promise<IDBObjectStore> => {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => { opening.result.createObjectStore(STORE); };
  return (await asked(opening)).transaction(STORE, mode).objectStore(STORE);
};

const keyOf = (kind: KeptKind, id: string): string => (kind === "file" ? id : `${kind}:${id}`);
const kindOf = (key: string): KeptKind => (key.startsWith("state:") ? "state" : "file");

/** Of this tab, for browsers that keep nothing. */
const here = new Map<string, unknown>();

/** A new name, later than all others. */
export const newName = (): string => `${Date.now().toString(36)}-${crypto.randomUUID().slice(0, 8)}`;

/** Keeps a value under a name of `newName`; the oldest ones of its kind go. */
export const keep = async (kind: KeptKind, id: string, value: unknown): Promise<void> => {
  const key = keyOf(kind, id);
  here.set(key, value);
  try {
    const values = await open("readwrite");
    await asked(values.put(value, key));
    const keys = (await asked(values.getAllKeys())).map(String).filter((each) => kindOf(each) === kind).toSorted();
    for (const old of keys.slice(0, Math.max(0, keys.length - KEPT))) values.delete(old);
  } catch {
    // Private windows may refuse; it is in this tab all the same.
  }
};

/** What is kept under a name; nothing when this browser has nothing of that name. */
export const kept = async (kind: KeptKind, id: string): Promise<unknown> => {
  const key = keyOf(kind, id);
  const known = here.get(key);
  if (known !== undefined) return known;
  try {
    return await asked((await open("readonly")).get(key));
  } catch {
    return undefined;
  }
};
