import type { Layout, Values } from "@iommu-lab/memory/layout";
import type { BRIDGE_CONTROL, COMMAND, SECONDARY_STATUS, STATUS } from "../config/header.ts";
import type { Fields } from "../config/register.ts";

type ValuesOf<L extends Layout<Fields>> = Values<L["fields"]>;

/** One field of one register, with its value. */
export interface DecodedField {
  readonly name: string;
  readonly msb: number;
  readonly lsb: number;
  /** Unsigned; fields of more than 52 bits are split. */
  readonly value: number;
  /** What that value means, where the specification names it. */
  readonly meaning?: string;
}

/** One register with its value. */
export interface DecodedRegister {
  readonly name: string;
  /** In configuration space. */
  readonly offset: number;
  readonly layoutName: string;
  /** The whole register; of one wider than 32 bits the low 32. */
  readonly value: number;
  readonly fields: readonly DecodedField[];
}

/** One capability. */
export interface DecodedCapability {
  readonly id: number;
  readonly name: string;
  readonly offset: number;
  readonly extended: boolean;
  /** Extended capabilities only, 4 bits. */
  readonly version?: number;
  /** Bytes it takes by its own account; of unknown ones those of the header. */
  readonly length: number;
  /** What it says of itself: "Root Port", "MSI mapping". */
  readonly type?: string;
  /** Registers that could be seen whole. Empty for capabilities known by name only. */
  readonly registers: readonly DecodedRegister[];
}

/** Something that is wrong with the bytes. */
export interface ConfigProblem {
  /** Where in configuration space. */
  readonly offset: number;
  /** A sentence. */
  readonly text: string;
}

/** A BAR as its register says; sizes are not in configuration space. */
export interface DecodedBar {
  /** 0 to 5. */
  readonly index: number;
  /** "below1MiB" and "reserved" are types 1 and 3 of memory BARs. */
  readonly kind: "io" | "memory32" | "memory64" | "below1MiB" | "reserved";
  /** In its space, in bytes. Above 2^53 rounded: then nothing real is there. */
  readonly address: number;
  readonly prefetchable: boolean;
}

/** A bridge window, as far as the registers say. */
export interface DecodedWindow {
  /** First byte. */
  readonly base: number;
  /** Last byte. */
  readonly limit: number;
  /** The limit is below the base: nothing is forwarded. */
  readonly disabled: boolean;
  /** Address bits: 16 or 32 for I/O, 32 for memory, 32 or 64 for prefetchable memory. */
  readonly addressing: 16 | 32 | 64;
}

/** What only bridges have. */
export interface DecodedBridge {
  readonly primary: number;
  readonly secondary: number;
  readonly subordinate: number;
  readonly secondaryLatencyTimer: number;
  readonly io: DecodedWindow;
  readonly memory: DecodedWindow;
  readonly prefetchable: DecodedWindow;
  readonly secondaryStatus: ValuesOf<typeof SECONDARY_STATUS>;
  readonly control: ValuesOf<typeof BRIDGE_CONTROL>;
}

/** The expansion ROM's register. */
export interface DecodedRom {
  readonly address: number;
  readonly enabled: boolean;
}

/** The 64 bytes that every function has. Bytes that were not given count as zero. */
export interface DecodedHeader {
  /** 7 bits: 0 endpoint, 1 bridge, 2 CardBus bridge. */
  readonly type: number;
  readonly multifunction: boolean;
  /** 0xffff in a virtual function: it has its physical function's. PCIe §9.3.4.1.1. */
  readonly vendor: number;
  /** 0xffff in a virtual function: it is in the physical function's SR-IOV capability. */
  readonly device: number;
  /** 24 bits: class, subclass, programming interface. */
  readonly classCode: number;
  readonly revision: number;
  /** In 4-byte units. */
  readonly cacheLineSize: number;
  readonly latencyTimer: number;
  /** BIST register. */
  readonly bist: number;
  readonly command: ValuesOf<typeof COMMAND>;
  readonly status: ValuesOf<typeof STATUS>;
  /** BARs that are not all zero. */
  readonly bars: readonly DecodedBar[];
  /** Undefined when the register is zero. */
  readonly rom?: DecodedRom;
  readonly interruptLine: number;
  /** 0 none, 1 to 4 INTA to INTD. */
  readonly interruptPin: number;
  /** Type 0. */
  readonly subsystemVendor?: number;
  /** Type 0. */
  readonly subsystemDevice?: number;
  /** Type 0, in 250 ns units. */
  readonly minGrant?: number;
  /** Type 0, in 250 ns units. */
  readonly maxLatency?: number;
  /** Type 1. */
  readonly bridge?: DecodedBridge;
}

/** A function's configuration bytes, read. */
export interface DecodedConfig {
  /** Bytes that were given. */
  readonly size: number;
  /** What the bytes given can show: users without privileges get 64 bytes, which show that there are capabilities but none of them. */
  readonly capabilitiesVisible: "all" | "conventional" | "none";
  readonly header: DecodedHeader;
  /** In the order of their lists, conventional ones first. */
  readonly capabilities: readonly DecodedCapability[];
  readonly problems: readonly ConfigProblem[];
}
