/**
 * Device-specific facts of Linux about isolation and DMA aliases, by vendor and device id.
 * Source: Linux 7.3 drivers/pci/quirks.c (facts only); stable kernels receive new ids by backport, so this is "newest".
 */

/** How a device-specific ACS rule judges; see acs-rules.ts. */
type AcsRule = "amd-southbridge" | "multifunction-endpoint" | "integrated-endpoint" | "intel-pch" | "intel-spt-pch" | "always" | "root-port-always" | "cavium" | "zhaoxin" | "wangxun";

/** One row: a rule and the devices it covers; no list means every device of the vendor. */
export interface AcsRow {
  readonly rule: AcsRule;
  readonly vendor: number;
  readonly devices?: ReadonlySet<number>;
}

/** Reads "4385 a110-a11f": single ids and inclusive ranges, hexadecimal. */
const ids = (text: string): ReadonlySet<number> => {
  const set = new Set<number>();
  for (const part of text.split(/\s+/)) {
    const [first = 0, last = first] = part.split("-").map((id) => Number.parseInt(id, 16));
    for (let id = first; id <= last; id++) set.add(id);
  }
  return set;
};

const row = (rule: AcsRule, vendor: number, devices?: string): AcsRow => (devices === undefined ? { rule, vendor } : { rule, vendor, devices: ids(devices) });

/** In the kernel's order: the first row that answers wins. */
export const ACS_ROWS: readonly AcsRow[] = [
  row("amd-southbridge", 0x1002, "4385 439c 4383 439d 4384 4399"),
  row("amd-southbridge", 0x1022, "780f 7809"),
  row("multifunction-endpoint", 0x1924, "0903 0923 0a03"),
  row(
    "multifunction-endpoint",
    0x8086,
    "10c6 10db 10dd 10e1 10f1 10f7-10fc 1507 1514 151c 1529 152a 154d 154f 1551 1558 1509 150e-1511 1516 1527 10c9 10e6-10e8 150a 150d 1518 1526 10a7 10a9 10d6 1521-1524 105e 105f 1060 10d9 15b7 15b8",
  ),
  row("integrated-endpoint", 0x8086),
  row("always", 0x17cb, "0400 0401 0115 0111 0120"),
  row("always", 0x1dbf, "0401"),
  row("intel-pch", 0x8086),
  row("intel-spt-pch", 0x8086),
  row("multifunction-endpoint", 0x19a2, "0710"),
  row("multifunction-endpoint", 0x10df, "0720"),
  row("cavium", 0x177d),
  row("multifunction-endpoint", 0x177d, "a026 a059 a060"),
  row("always", 0x10e8, "e004"),
  row("always", 0x1def, "e005-e00c"),
  row("multifunction-endpoint", 0x14e4, "16d7 1750-1752 1760-1763"),
  row("always", 0x14e4, "d714"),
  row("always", 0x0014, "3c09 3c19 3c29 7a09 7a19 7a29 7a39 7a49 7a59 7a69"),
  row("root-port-always", 0x1c36, "0031"),
  row("multifunction-endpoint", 0x1d17, "3038 3104 9083"),
  row("always", 0x1957, "8d80-8d83 8da0 8da1 8d90-8d93 8db0 8db1 8d88-8d8b 8da8 8da9 8d98-8d9b 8db8 8db9"),
  row("zhaoxin", 0x1d17),
  row("wangxun", 0x8088),
];

/** Root ports whose chipset has isolation outside the ACS capability: Ibex Peak to Wildcat Point, X79, X99. */
export const INTEL_PCH_ROOT_PORTS = ids("3b42-3b51 1c10-1c1f 1e10-1e1f 8c10-8c1f 9c10-9c1b 9c90-9c9b 1d10 1d12 1d14 1d16 1d18 1d1a 1d1c 1d1e 8d10-8d1e 8c90 8c92 8c94 8c96 8c98 8c9a 8c9c 8c9e");
/** Root ports whose ACS registers are 32 bits wide: Sunrise Point, Union Point. */
export const INTEL_SPT_ROOT_PORTS = ids("a110-a11f a167-a16a a290-a29f a2e7-a2ee 9d10-9d1b");
export const ZHAOXIN_PORTS = ids("0710-071e 0721 0723-0752");
export const CAVIUM_ROOT_PORTS = ids("a000-a7ff af84 b884");
export const WANGXUN_NICS = ids("0100-010f 1001 2001 5010 5025 5040 5110 5125 5140");

/** Switch ports whose source-validation bit is not counted as a capability since Linux 7.0. */
export const BROKEN_SOURCE_VALIDATION = ids("80b5 8090");

const pairs = (text: string): ReadonlySet<number> => new Set(text.split(/\s+/).map((pair) => Number.parseInt(pair.slice(0, 4), 16) * 0x1_0000 + Number.parseInt(pair.slice(5), 16)));

/** Vendor and device id in one number. */
export const idKey = (vendor: number, device: number): number => vendor * 0x1_0000 + device;

/** Functions other than 0 that use function 0's requester ID. */
export const ALIAS_FUNCTION_0 = pairs("1180:e832 1180:e476 6766:3d40 6766:3d41");
/** Functions other than 1 that use function 1's requester ID. */
export const ALIAS_FUNCTION_1 = pairs("1b4b:9120 1b4b:9123 1b4b:9125 1b4b:9128 1b4b:9130 1b4b:9170 1b4b:9172 1b4b:917a 1b4b:9182 1b4b:9183 1b4b:91a0 1b4b:9215 1b4b:9220 1b4b:9230 1b4b:9235 1103:0642 1103:0645 197b:2392 1c28:0122");
/** Adaptec 3405: its DMA comes from device 1, function 0; by subsystem. */
export const ALIAS_FIXED = { device: idKey(0x9005, 0x0285), subsystems: pairs("9005:02bb 9005:02bc"), alias: 0x08 } as const;
/** Xeon Phi x200: 10.0, 11.0 and 12.3. */
export const ALIAS_MIC_X200 = { devices: pairs("8086:2260 8086:2264"), aliases: [0x80, 0x88, 0x93] } as const;
/** Visual Compute Accelerator: functions 0 to 4 of every slot. */
export const ALIAS_VCA = pairs("8086:2954 8086:2955 8086:2956 8086:2958 8086:2959 8086:295a");
/** PLX non-transparent bridge: the whole bus. */
export const ALIAS_WHOLE_BUS = pairs("10b5:87b0 10b5:87b1");
/** Switchtec non-transparent bridges (class 0680): their aliases stand in device registers, which no dump shows. */
export const ALIAS_IN_REGISTERS = { microsemi: 0x11f8, efar: 0x1055, class: 0x0680 } as const;
/** Bridges at which upstream requests get a requester ID of their own: the alias walk ends there. */
export const TRANSLATION_ROOTS = pairs("14e4:9000 14e4:9084");
/** A PCIe-to-PCI bridge that passes requester IDs on. Linux treats it so since 7.2. */
export const PASSES_REQUESTER_IDS = pairs("1a03:1150");
