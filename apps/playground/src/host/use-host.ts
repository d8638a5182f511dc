import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { HostChoice } from "./host-choice.ts";
import { openBundled, openPieces, openTexts, type OpenedHost } from "./open-host.ts";
import { keptFile } from "./stored-files.ts";

/** Hosts that were opened, so that a step in a view does not read them again. */
const KEPT = 6;
const opened = new Map<string, OpenedHost>();

const remember = (key: string, host: OpenedHost): OpenedHost => {
  opened.set(key, host);
  for (const oldest of opened.keys()) if (opened.size > KEPT) opened.delete(oldest);
  return host;
};

/** The host of a choice, as far as it is there at once: all but files. */
export const hostNow = (choice: HostChoice): OpenedHost | undefined => {
  const key = JSON.stringify(choice);
  const known = opened.get(key);
  if (known) return known;
  if ("bundled" in choice) return remember(key, openBundled(choice.bundled));
  return choice.files.length === 0 ? remember(key, openTexts(choice.texts)) : undefined;
};

const hostLater = async (choice: Exclude<HostChoice, { readonly bundled: string }>): Promise<OpenedHost> => {
  const found = await Promise.all(choice.files.map(async (id) => ({ id, file: await keptFile(id) })));
  const host = await openPieces(choice.texts, found.flatMap(({ file }) => file ?? []));
  return { ...host, given: [...host.given.slice(0, choice.texts.length), ...found.map(({ id, file }, i) => (file ? (host.given[choice.texts.length + found.slice(0, i).filter((each) => each.file).length] ?? { label: file.name, kinds: [] }) : { label: id, kinds: [], problem: "gone" }))] };
};

/** The host of a choice; nothing while its files are being read. */
export const useHost = (choice: HostChoice): OpenedHost | undefined => {
  const key = JSON.stringify(choice);
  const read = useSignal(0);
  useEffect(() => {
    if ("bundled" in choice || hostNow(choice)) return;
    void hostLater(choice).then((host) => {
      remember(key, host);
      read.value++;
    });
  }, [key]);
  return read.value >= 0 ? hostNow(choice) : undefined;
};
