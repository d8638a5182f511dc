import { existsSync } from "node:fs";
import { decodeInput, DecodeInputError, isKind, KIND_LIST, type DecodedInput } from "@iommu-lab/host/decode";
import { CommandError, ExitCode } from "../exit-code.ts";
import { readInput } from "../input/read-input.ts";
import { decodeJson } from "../output/decode-json.ts";
import { decodeText } from "../output/decode-text.ts";
import { print, printJson } from "../output/style.ts";

/** Options of `iommu decode` as the parser gives them. */
export interface DecodeOptions {
  readonly json: boolean;
}

/** [KIND] FILE|-: a single argument is the file. */
const split = (args: readonly string[]): { readonly kind: string | undefined; readonly file: string } => {
  const [first, second] = args;
  if (first === undefined) throw new CommandError(ExitCode.BadInput, "say what to decode: iommu decode [KIND] FILE, with - for standard input.");
  if (args.length > 2) throw new CommandError(ExitCode.BadInput, `iommu decode takes one file; "${args[2] as string}" is too many.`);
  if (second === undefined) {
    if (isKind(first) && !existsSync(first)) throw new CommandError(ExitCode.BadInput, `give the file that holds the ${first}: iommu decode ${first} FILE, with - for standard input.`);
    return { kind: undefined, file: first };
  }
  const kind = first.toLowerCase();
  if (!isKind(kind)) throw new CommandError(ExitCode.BadInput, `"${first}" is no kind of input. Kinds: ${KIND_LIST}; and every register by its name.`);
  return { kind, file: second };
};

const decoded = (name: string, bytes: Uint8Array, kind: string | undefined): DecodedInput[] => {
  try {
    return decodeInput(name, bytes, kind);
  } catch (error) {
    throw error instanceof DecodeInputError ? new CommandError(ExitCode.BadInput, error.message) : error;
  }
};

/** `iommu decode`: tables, registers, records, log lines and table entries in words. Mistakes in a table are shown, and are no failure. */
export const runDecode = async (args: readonly string[], { json }: DecodeOptions): Promise<ExitCode> => {
  const { kind, file } = split(args);
  const { name, bytes } = await readInput(file);
  const inputs = decoded(name, bytes, kind);
  if (json) {
    const values = inputs.map(decodeJson);
    printJson(values.length === 1 ? values[0] : { tables: values });
  } else print(inputs.map(decodeText).join("\n\n"));
  return ExitCode.Fine;
};
