/** The header as lspci prints it. */
import type { DecodedBar, DecodedHeader, DecodedWindow } from "../../src/capabilities/index.ts";
import { decimal, flags, hex, oneOf, rule, says, words, type FieldReader, type Rule } from "./lspci-rules.ts";

/** How the text came about: by a kernel that knows resources and interrupts itself, or from a hex dump. */
export type Origin = "live" | "dump";

const pin = (value: number): string => ["?", "A", "B", "C", "D"][value] ?? "?";
const KINDS = { memory32: "32-bit", memory64: "64-bit", below1MiB: "low-1M", reserved: "type 3", io: "" } as const;

/** The header's fields by path: numbers only, so that the same rules serve as for capabilities. */
export const headerReader = (header: DecodedHeader): FieldReader => {
  const { bridge } = header;
  const values: Record<string, number | undefined> = {
    "ids.vendor": header.vendor,
    "ids.device": header.device,
    "ids.class": header.classCode >>> 8,
    "ids.progIf": header.classCode & 0xff,
    "ids.revision": header.revision,
    "ids.subsystemVendor": header.subsystemVendor,
    "ids.subsystemDevice": header.subsystemDevice,
    "misc.latencyTimer": header.latencyTimer,
    "misc.cacheLineSize": header.cacheLineSize,
    "misc.minGrant": header.minGrant,
    "misc.maxLatency": header.maxLatency,
    "misc.interruptLine": header.interruptLine,
    "misc.interruptPin": header.interruptPin,
    "rom.address": header.rom?.address,
    "rom.enabled": header.rom ? Number(header.rom.enabled) : undefined,
    "bus.primary": bridge?.primary,
    "bus.secondary": bridge?.secondary,
    "bus.subordinate": bridge?.subordinate,
    "bus.latency": bridge?.secondaryLatencyTimer,
  };
  const groups: [string, Readonly<Record<string, number>> | undefined][] = [["command", header.command], ["status", header.status], ["secondary", bridge?.secondaryStatus], ["control", bridge?.control]];
  for (const [group, fields] of groups) for (const [name, value] of Object.entries(fields ?? {})) values[`${group}.${name}`] = value;
  const windows: [string, DecodedWindow | undefined][] = [["io", bridge?.io], ["memory", bridge?.memory], ["prefetchable", bridge?.prefetchable]];
  for (const [name, window] of windows)
    if (window) Object.assign(values, { [`${name}.base`]: window.base, [`${name}.limit`]: window.limit, [`${name}.disabled`]: Number(window.disabled), [`${name}.addressing`]: window.addressing });
  return (path) => values[path];
};

const DEVSEL = ["fast", "medium", "slow", "??"];
const size = (bytes: number): string => {
  let unit = 0;
  let value = bytes;
  while (value > 0 && value % 1024 === 0 && unit < 4) {
    value /= 1024;
    unit++;
  }
  return `${value}${["", "K", "M", "G", "T"][unit] ?? ""}`;
};

/** Address bits of a window as printed: a running kernel's word for a 64-bit window that it put below 4 GiB is 32. */
const printedBits = (origin: Origin, limit: number, addressing: number, disabled: number): number => (origin === "live" && !disabled && limit < 2 ** 32 ? Math.min(addressing, 32) : addressing);
const WIDTH: Readonly<Record<number, number>> = { 16: 4, 32: 8, 64: 16 };

const windowRule = (label: RegExp, name: string, origin: Origin): Rule => {
  const paths = ["base", "limit", "addressing", "disabled"].map((field) => `${name}.${field}`);
  return rule(
    label,
    says(/^([0-9a-f]+-[0-9a-f]+)/, paths, (base, limit, addressing, disabled) => {
      const width = hex(WIDTH[printedBits(origin, limit, addressing, disabled)] ?? 0);
      return `${width(base)}-${width(limit)}`;
    }),
    says(/\[size=(\d+[KMGT]?)\]/, [`${name}.base`, `${name}.limit`], (base, limit) => size(limit - base + 1)),
    says(/\[(\d+)-bit\]/, paths, (_base, limit, addressing, disabled) => printedBits(origin, limit, addressing, disabled)),
    says(/\[(disabled)\]/, [`${name}.disabled`], oneOf(["enabled", "disabled"])),
  );
};

const statusFlags = (group: string, received: string): ReturnType<typeof flags> =>
  flags({
    ...(group === "status" ? { Cap: "status.CapabilitiesList", UDF: "status.UserDefinableFeatures", INTx: "status.InterruptStatus" } : {}),
    "66MHz": `${group}.Capable66MHz`,
    FastB2B: `${group}.FastBackToBackCapable`,
    ParErr: `${group}.MasterDataParityError`,
    ">TAbort": `${group}.SignaledTargetAbort`,
    "<TAbort": `${group}.ReceivedTargetAbort`,
    "<MAbort": `${group}.ReceivedMasterAbort`,
    [received]: `${group}.${group === "status" ? "SignaledSystemError" : "ReceivedSystemError"}`,
    "<PERR": `${group}.DetectedParityError`,
  });

const nanoseconds = (value: number): string => `${value * 250}ns`;
const quad = (vendor: number, device: number): string => `${hex(4)(vendor)}:${hex(4)(device)}`;

export const TITLE = rule(
  /^[^[]*(?=\[[0-9a-f]{4}\]: )/,
  says(/\[([0-9a-f]{4})\]: /, ["ids.class"], hex(4)),
  says(/\(rev ([0-9a-f]{2})\)/, ["ids.revision"], hex(2)),
  says(/\(prog-if ([0-9a-f]{2})(?: \[[^\]]*\])?\)/, ["ids.progIf"], hex(2)),
  says(/\[([0-9a-f]{4}:[0-9a-f]{4})\]\s*$/, ["ids.vendor", "ids.device"], (vendor, device) => quad(vendor, device)),
  words(/^.*$/),
);

/** What only the kernel or a name table knows; nothing in configuration space says it. */
const FOREIGN = /^(?:Kernel (?:driver in use|modules)|IOMMU group|Physical Slot|NUMA node|DeviceName|Flags|Device tree node): /;

export const headerRules = (origin: Origin): Rule[] => [
  rule(
    /^Control: /,
    flags({
      "I/O": "command.IOSpace",
      Mem: "command.MemorySpace",
      BusMaster: "command.BusMaster",
      SpecCycle: "command.SpecialCycle",
      MemWINV: "command.MemoryWriteInvalidate",
      VGASnoop: "command.VGAPaletteSnoop",
      ParErr: "command.ParityErrorResponse",
      Stepping: "command.AddressStepping",
      SERR: "command.SERREnable",
      FastB2B: "command.FastBackToBack",
      DisINTx: "command.InterruptDisable",
    }),
  ),
  rule(/^Status: /, says(/DEVSEL=(\S+)/, ["status.DEVSELTiming"], oneOf(DEVSEL)), statusFlags("status", ">SERR")),
  rule(/^Secondary status: /, says(/DEVSEL=(\S+)/, ["secondary.DEVSELTiming"], oneOf(DEVSEL)), statusFlags("secondary", "<SERR")),
  rule(
    /^Latency: /,
    says(/\((\d+ns) min/, ["misc.minGrant"], nanoseconds),
    says(/(\d+ns) max\)/, ["misc.maxLatency"], nanoseconds),
    says(/Cache Line Size: (\d+) bytes/, ["misc.cacheLineSize"], (lines) => lines * 4),
    says(/^(\d+)/, ["misc.latencyTimer"], decimal),
    words(/\( ?,? ?\)?/),
  ),
  // A running kernel prints its own number for the interrupt line.
  rule(/^Interrupt: /, says(/pin (\S)/, ["misc.interruptPin"], pin), origin === "live" ? words(/routed to IRQ \d+/) : says(/routed to IRQ (\d+)/, ["misc.interruptLine"], decimal)),
  rule(/^Subsystem: /, says(/\[([0-9a-f]{4}:[0-9a-f]{4})\]$/, ["ids.subsystemVendor", "ids.subsystemDevice"], (vendor, device) => quad(vendor, device)), words(/^.*$/)),
  rule(
    /^Bus: /,
    says(/primary=([0-9a-f]{2})/, ["bus.primary"], hex(2)),
    says(/secondary=([0-9a-f]{2})/, ["bus.secondary"], hex(2)),
    says(/subordinate=([0-9a-f]{2})/, ["bus.subordinate"], hex(2)),
    says(/sec-latency=(\d+)/, ["bus.latency"], decimal),
  ),
  windowRule(/^I\/O behind bridge: /, "io", origin),
  windowRule(/^Memory behind bridge: /, "memory", origin),
  windowRule(/^Prefetchable memory behind bridge: /, "prefetchable", origin),
  rule(
    /^BridgeCtl: /,
    flags({
      Parity: "control.ParityErrorResponse",
      SERR: "control.SERREnable",
      NoISA: "control.ISAEnable",
      VGA: "control.VGAEnable",
      VGA16: "control.VGA16BitDecode",
      MAbort: "control.MasterAbortMode",
      ">Reset": "control.SecondaryBusReset",
      FastB2B: "control.FastBackToBack",
      PriDiscTmr: "control.PrimaryDiscardTimer",
      SecDiscTmr: "control.SecondaryDiscardTimer",
      DiscTmrStat: "control.DiscardTimerStatus",
      DiscTmrSERREn: "control.DiscardTimerSERREnable",
    }),
  ),
  rule(
    /^Expansion ROM at /,
    // [virtual]: the kernel knows an address that the register does not hold.
    words(/^[0-9a-f]+ \[virtual\]/),
    // The shadow copy of the boot display's ROM in RAM is the kernel's address, too.
    ...(origin === "live" ? [words(/^000c0000 \[disabled\]/)] : []),
    says(/^([0-9a-f]+)/, ["rom.address"], hex(8)),
    says(/\[(disabled|disabled by cmd)\]/, ["rom.enabled", "command.MemorySpace"], (enabled, memory) => (enabled ? (memory ? "decoded" : "disabled by cmd") : "disabled")),
    words(/\[size=\d+[KMGT]?\]/),
  ),
  rule(FOREIGN, words(/^.*$/)),
];

const REGION = /^Region (\d): (I\/O ports|Memory) at (\S+)(?: \(([^)]*)\))?((?: \[[^\]]*\])*)$/;

/** A region is held against the decoded BAR of its index. The kernel's own address (`[virtual]`) is not in the register. */
export const explainRegion = (statement: string, header: DecodedHeader): { compared: number; problems: string[] } => {
  const match = REGION.exec(statement);
  if (!match) return { compared: 0, problems: [`no rule for "${statement}"`] };
  const [, index, space, address, type, tags = ""] = match;
  const bar: DecodedBar | undefined = header.bars.find((each) => each.index === Number(index));
  const virtual = tags.includes("[virtual]");
  // From a dump, lspci shows the upper half of a 64-bit BAR once more as a region without an address.
  if ((address === "<unassigned>" || address === "0000") && header.bars.some((each) => each.kind === "memory64" && each.index === Number(index) - 1)) return { compared: 0, problems: [] };
  if (virtual && !bar) return { compared: 0, problems: [] };
  if (!bar) return { compared: 1, problems: [`"${statement}" but no such BAR`] };
  const problems: string[] = [];
  const expect = (what: string, printed: string, decoded: string): void => {
    if (printed !== decoded) problems.push(`${what} of "${statement}" is decoded as ${decoded}`);
  };
  expect("space", space ?? "", bar.kind === "io" ? "I/O ports" : "Memory");
  if (bar.kind !== "io") expect("type", type ?? "", `${KINDS[bar.kind]}, ${bar.prefetchable ? "" : "non-"}prefetchable`);
  if (!virtual) expect("address", address === "<unassigned>" ? "0" : BigInt(`0x${address ?? "0"}`).toString(16), bar.address.toString(16));
  const decoding = bar.kind === "io" ? header.command.IOSpace : header.command.MemorySpace;
  if (!virtual) expect("decoding", tags.includes("[disabled]") ? "0" : "1", String(decoding));
  return { compared: 4, problems };
};
