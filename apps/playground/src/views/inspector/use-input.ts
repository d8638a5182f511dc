import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { keptFile } from "../../host/stored-files.ts";
import type { InspectorSettings } from "./settings.ts";

const files = new Map<string, Uint8Array>();

/** What is looked at, as far as it is there at once. */
export const inputNow = ({ text, file }: InspectorSettings): Uint8Array | string | undefined => (file === "" ? text : files.get(file));

/** What is looked at: the text, or the file once it is read; an empty text when it is gone. */
export const useInput = (settings: InspectorSettings): Uint8Array | string | undefined => {
  const read = useSignal(0);
  const { file } = settings;
  useEffect(() => {
    if (file === "" || files.has(file)) return;
    void keptFile(file).then((kept) => {
      files.set(file, kept?.bytes ?? new Uint8Array());
      read.value++;
    });
  }, [file]);
  return read.value >= 0 ? inputNow(settings) : undefined;
};
