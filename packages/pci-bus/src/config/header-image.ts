import { bits, layout } from "@iommu-lab/memory/layout";
import { putBars, type BarDescription } from "./bar.ts";
import { BRIDGE_CONTROL, COMMAND, HEADER_TYPE, ROM_BAR, SECONDARY_STATUS, STATUS } from "./header.ts";
import { HeaderOffset } from "./offsets.ts";
import { putRegister, register, type RegisterImage } from "./register.ts";

/** What a bridge's windows can address. Every bridge has the 32-bit memory window. */
export interface BridgeWindows {
  /** Address bits of the I/O window; the default is 16. */
  readonly io?: 16 | 32 | "none";
  /** Address bits of the prefetchable window; the default is 64. */
  readonly prefetchable?: 32 | 64 | "none";
}

/** What the header's image depends on. */
export interface HeaderDescription {
  readonly vendor: number;
  readonly device: number;
  readonly classCode: number;
  readonly revision: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  readonly header: 0 | 1;
  readonly multifunction: boolean;
  readonly bars: readonly BarDescription[];
  readonly romSize: number;
  readonly interruptPin: number;
  readonly bridge: BridgeWindows;
  /** Conventional PCI on the primary side: latency timers and the old command bits exist. */
  readonly conventional: boolean;
  /** Conventional PCI below a bridge: master abort mode and discard timers exist. */
  readonly conventionalSecondary: boolean;
}

const WORD = layout("word", 16, "PCIe §7.5.1", { Value: bits(15, 0, "Value") });
const BYTE = layout("byte", 8, "PCIe §7.5.1", { Value: bits(7, 0, "Value") });
const DWORD = layout("doubleword", 32, "PCIe §7.5.1", { Value: bits(31, 0, "Value") });
const CLASS = layout("class code", 24, "PCIe §7.5.1.1.6", { Value: bits(23, 0, "Class, subclass, programming interface") });
const WINDOW_8 = layout("I/O window", 8, "PCIe §7.5.1.3.6", { Width: bits(3, 0, "Addressing"), Address: bits(7, 4, "Address bits 15:12") });
const WINDOW_16 = layout("memory window", 16, "PCIe §7.5.1.3.9", { Width: bits(3, 0, "Addressing"), Address: bits(15, 4, "Address bits 31:20") });

const RW = { writable: "all" } as const;
const ERRORS = ["MasterDataParityError", "SignaledTargetAbort", "ReceivedTargetAbort", "ReceivedMasterAbort", "DetectedParityError"] as const;

const word = (image: RegisterImage, at: number, value: number, rw = false): void => { putRegister(image, register(at, WORD, rw ? RW : {}), { Value: value }); };
const byte = (image: RegisterImage, at: number, value: number, rw = false): void => { putRegister(image, register(at, BYTE, rw ? RW : {}), { Value: value }); };

const putRom = (image: RegisterImage, at: number, size: number): void => {
  if (size === 0) return;
  if (!Number.isInteger(Math.log2(size)) || size < 2048 || size > 2 ** 24) throw new RangeError(`The expansion ROM has size 0x${size.toString(16)} bytes; allowed are powers of two from 0x800 to 0x100_0000.`);
  putRegister(image, register(at, ROM_BAR, { writable: ["Enable"] }));
  const mask = (-size | 1) >>> 0;
  for (let i = 0; i < 4; i++) image.writable[at + i] = (mask >>> (8 * i)) & 0xff;
};

const putType0 = (image: RegisterImage, of: HeaderDescription): void => {
  putBars(image, HeaderOffset.Bar0, 6, of.bars);
  word(image, HeaderOffset.SubsystemVendor, of.subsystemVendor);
  word(image, HeaderOffset.SubsystemDevice, of.subsystemDevice);
  putRom(image, HeaderOffset.Rom, of.romSize);
};

const putWindows = (image: RegisterImage, { io = 16, prefetchable = 64 }: BridgeWindows): void => {
  const address = { writable: ["Address"] } as const;
  for (const at of [HeaderOffset.MemoryBase, HeaderOffset.MemoryLimit]) putRegister(image, register(at, WINDOW_16, address));
  if (io !== "none") for (const at of [HeaderOffset.IoBase, HeaderOffset.IoLimit]) putRegister(image, register(at, WINDOW_8, address), { Width: io === 32 ? 1 : 0 });
  if (io === 32) for (const at of [HeaderOffset.IoBaseUpper, HeaderOffset.IoLimitUpper]) word(image, at, 0, true);
  if (prefetchable !== "none") for (const at of [HeaderOffset.PrefetchableBase, HeaderOffset.PrefetchableLimit]) putRegister(image, register(at, WINDOW_16, address), { Width: prefetchable === 64 ? 1 : 0 });
  if (prefetchable === 64) for (const at of [HeaderOffset.PrefetchableBaseUpper, HeaderOffset.PrefetchableLimitUpper]) putRegister(image, register(at, DWORD, RW));
};

const putType1 = (image: RegisterImage, of: HeaderDescription): void => {
  putBars(image, HeaderOffset.Bar0, 2, of.bars);
  for (const at of [HeaderOffset.PrimaryBus, HeaderOffset.SecondaryBus, HeaderOffset.SubordinateBus]) byte(image, at, 0, true);
  byte(image, HeaderOffset.SecondaryLatencyTimer, 0, of.conventionalSecondary);
  putWindows(image, of.bridge);
  putRegister(image, register(HeaderOffset.SecondaryStatus, SECONDARY_STATUS, { writeOneToClear: [...ERRORS, "ReceivedSystemError"] }));
  putRom(image, HeaderOffset.BridgeRom, of.romSize);
  const old = of.conventionalSecondary ? (["MasterAbortMode", "FastBackToBack", "PrimaryDiscardTimer", "SecondaryDiscardTimer", "DiscardTimerSERREnable"] as const) : [];
  const writable = ["ParityErrorResponse", "SERREnable", "ISAEnable", "VGAEnable", "VGA16BitDecode", "SecondaryBusReset", ...old] as const;
  putRegister(image, register(HeaderOffset.BridgeControl, BRIDGE_CONTROL, { writable, writeOneToClear: of.conventionalSecondary ? ["DiscardTimerStatus"] : [] }));
};

/**
 * Fills in the 64 bytes of a type 0 or type 1 header with their masks. PCIe §7.5.1 "PCI-Compatible Configuration Registers".
 * @throws RangeError when a value does not fit or a BAR is impossible
 */
export const putHeader = (image: RegisterImage, of: HeaderDescription): void => {
  word(image, HeaderOffset.Vendor, of.vendor);
  word(image, HeaderOffset.Device, of.device);
  const old = of.conventional ? (["SpecialCycle", "MemoryWriteInvalidate", "VGAPaletteSnoop", "FastBackToBack"] as const) : [];
  const command = ["IOSpace", "MemorySpace", "BusMaster", "ParityErrorResponse", "SERREnable", "InterruptDisable", ...old] as const;
  putRegister(image, register(HeaderOffset.Command, COMMAND, { writable: command }));
  putRegister(image, register(HeaderOffset.Status, STATUS, { writeOneToClear: [...ERRORS, "SignaledSystemError"] }));
  byte(image, HeaderOffset.Revision, of.revision);
  putRegister(image, register(HeaderOffset.ClassCode, CLASS), { Value: of.classCode });
  byte(image, HeaderOffset.CacheLineSize, 0, true);
  byte(image, HeaderOffset.LatencyTimer, 0, of.conventional);
  putRegister(image, register(HeaderOffset.HeaderType, HEADER_TYPE), { Layout: of.header, MultiFunction: of.multifunction ? 1 : 0 });
  byte(image, HeaderOffset.InterruptLine, 0, true);
  byte(image, HeaderOffset.InterruptPin, of.interruptPin);
  if (of.header === 1) putType1(image, of);
  else putType0(image, of);
};
