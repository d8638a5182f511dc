import type { GuestDomain } from "../doctor/guest-domain.ts";
import type { HostSnapshot, MissingInput } from "../snapshot.ts";
import { MemoryTree } from "../tree/memory-tree.ts";
import { OverlayTree } from "../tree/overlay-tree.ts";
import type { Recognised } from "./recognise.ts";

/** Something that was given: a machine's files, a text, an ACPI table. */
export type Piece = { readonly kind: "snapshot"; readonly snapshot: HostSnapshot } | { readonly kind: "text"; readonly recognised: Recognised } | { readonly kind: "table"; readonly signature: string; readonly bytes: Uint8Array };

/** One machine put together from pieces, and the VMs that came with it. */
export interface Gathered {
  readonly snapshots: readonly HostSnapshot[];
  readonly guests: readonly GuestDomain[];
  /** What was recognised, in words. */
  readonly recognised: readonly string[];
}

const EMPTY = (origin: string): HostSnapshot => ({ origin, kind: "lspci", functions: [], groups: undefined, acpi: new Map(), commandLine: undefined, kernelRelease: undefined, dmesg: undefined, iommus: [], missing: [], warnings: [] });

const wanted = (snapshot: HostSnapshot): MissingInput[] => [
  ...(snapshot.functions.length === 0 ? [{ what: "PCI functions (sudo lspci -D -nn -vvv)", consequence: "no device can be judged" }] : []),
  ...(snapshot.dmesg === undefined ? [{ what: "the kernel log (sudo dmesg)", consequence: "what the kernel found out at boot is not seen" }] : []),
  ...(snapshot.commandLine === undefined ? [{ what: "/proc/cmdline", consequence: "options are not seen" }] : []),
];

/** Fills what a snapshot does not show with what the pieces do. */
const completed = (base: HostSnapshot, pieces: readonly Piece[]): HostSnapshot => {
  const texts = pieces.flatMap((piece) => (piece.kind === "text" ? [piece.recognised] : []));
  const tables = pieces.flatMap((piece) => (piece.kind === "table" ? [[piece.signature, piece.bytes] as const] : []));
  const extra = new MemoryTree(base.origin);
  for (const { files } of texts) for (const [path, text] of Object.entries(files)) extra.addFile(path, text);
  const dmesg = base.dmesg ?? texts.find((text) => text.dmesg !== undefined)?.dmesg;
  const filled: HostSnapshot = {
    ...base,
    acpi: new Map([...tables, ...base.acpi]),
    dmesg,
    commandLine: base.commandLine ?? texts.find((text) => text.commandLine !== undefined)?.commandLine ?? /Command line: (.*)/.exec(dmesg ?? "")?.[1],
    kernelRelease: base.kernelRelease ?? texts.find((text) => text.kernelRelease !== undefined)?.kernelRelease,
    files: extra.paths().length > 0 ? (base.files ? new OverlayTree(base.origin, [base.files, extra]) : extra) : base.files,
    warnings: [...base.warnings, ...texts.flatMap(({ warnings }) => warnings)],
  };
  return base.kind === "sysfs" ? filled : { ...filled, missing: [...base.missing, ...wanted(filled)] };
};

/** Machines of a listing of groups, joined with the machine that lspci showed, where there is one of each. */
const joined = (hosts: readonly HostSnapshot[]): readonly HostSnapshot[] => {
  const [first, second] = hosts;
  if (hosts.length !== 2 || !first || !second || first.origin === second.origin || first.groups !== undefined === (second.groups !== undefined)) return hosts;
  const [base, listing] = first.groups === undefined ? [first, second] : [second, first];
  const groups = new Map(listing.functions.map(({ address, group }) => [`${address.domain}:${address.requester}`, group]));
  return [{ ...base, groups: listing.groups, functions: base.functions.map((f) => ({ ...f, group: groups.get(`${f.address.domain}:${f.address.requester}`) })) }];
};

/** Puts a machine together from everything that was given of it. */
export const gatherHost = (origin: string, pieces: readonly Piece[]): Gathered => {
  const whole = pieces.flatMap((piece) => (piece.kind === "snapshot" ? [piece.snapshot] : []));
  const listed = joined(pieces.flatMap((piece) => (piece.kind === "text" ? piece.recognised.hosts : [])));
  const bases = whole.length > 0 ? whole : listed.length > 0 ? listed : [EMPTY(origin)];
  return {
    snapshots: bases.map((base) => completed(base, pieces)),
    guests: pieces.flatMap((piece) => (piece.kind === "text" ? piece.recognised.guests : [])),
    recognised: [...new Set(pieces.flatMap((piece) => (piece.kind === "snapshot" ? ["a machine's files"] : piece.kind === "table" ? [`ACPI table ${piece.signature}`] : piece.recognised.kinds)))],
  };
};
