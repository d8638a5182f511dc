/** What a title line after the address says. */
export interface Title {
  readonly className: string | undefined;
  readonly classCode: number | undefined;
  readonly name: string | undefined;
  readonly vendor: number | undefined;
  readonly device: number | undefined;
  readonly revision: number | undefined;
}

/** Class numbers of names that rules ask for; the names changed over the years. */
const CLASS_NAMES: readonly (readonly [RegExp, number])[] = [
  [/^Host bridge$/i, 0x0600],
  [/^ISA bridge$/i, 0x0601],
  [/^PCI bridge$/i, 0x0604],
  [/^System peripheral$/i, 0x0880],
  [/^IOMMU$/i, 0x0806],
  [/^VGA compatible controller$/i, 0x0300],
  [/^3D controller$/i, 0x0302],
  [/^Display controller$/i, 0x0380],
  [/^Ethernet controller$/i, 0x0200],
  [/^(?:Network controller|Wireless controller.*)$/i, 0x0280],
  [/^RAID bus controller$/i, 0x0104],
  [/^SATA controller$/i, 0x0106],
  [/^Non-Volatile memory controller$/i, 0x0108],
  [/^USB (?:controller|Controller)$/i, 0x0c03],
  [/^SMBus$/i, 0x0c05],
  [/^(?:Audio device|Multimedia audio controller)$/i, 0x0403],
  [/^Communication controller$/i, 0x0780],
  [/^Bridge$/i, 0x0680],
  [/^Memory controller$/i, 0x0580],
  [/^Signal processing controller$/i, 0x1180],
  [/^Serial bus controller$/i, 0x0c80],
];

const hex = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number.parseInt(text, 16));

/**
 * Reads a title in any of lspci's forms: names, numbers (-n) or both (-nn).
 * Names hold brackets and colons, so the id is the last `[xxxx:xxxx]` and the class the first `[xxxx]:`.
 */
export const parseTitle = (printed: string): Title => {
  const title = printed.replace(/\s+/g, " ");
  const revision = hex(/\(rev ([0-9a-f]{1,2})\)/i.exec(title)?.[1]);
  const programming = hex(/\(prog-if ([0-9a-f]{2})/i.exec(title)?.[1]) ?? 0;
  const bare = title.replace(/ ?\((?:rev|prog-if)\b.*$/i, "").trim();
  const numeric = /^(?:Class )?([0-9a-f]{4}): ([0-9a-f]{4}):([0-9a-f]{4})$/i.exec(bare);
  if (numeric) return { className: undefined, classCode: ((hex(numeric[1]) ?? 0) << 8) | programming, name: undefined, vendor: hex(numeric[2]), device: hex(numeric[3]), revision };
  const both = /^(.*?) \[([0-9a-f]{4})\]:\s*(.*)$/i.exec(bare);
  const colon = bare.indexOf(": ");
  const className = both ? both[1] : colon < 0 ? undefined : bare.slice(0, colon);
  const rest = both ? (both[3] ?? "") : colon < 0 ? bare : bare.slice(colon + 2);
  const pair = [...rest.matchAll(/\[([0-9a-f]{4}):([0-9a-f]{4})\]/gi)].at(-1);
  const known = className === undefined ? undefined : CLASS_NAMES.find(([pattern]) => pattern.test(className))?.[1];
  const classNumber = hex(both?.[2]) ?? known ?? hex(/^Class ([0-9a-f]{4})$/i.exec(className ?? "")?.[1]);
  const name = (pair ? rest.slice(0, pair.index) : rest).trim();
  // What the database of that day had no name for is printed by number.
  const unnamed = /(?:^| )Device (?:([0-9a-f]{4}):)?([0-9a-f]{4})$/i.exec(name);
  return {
    className,
    classCode: classNumber === undefined ? undefined : (classNumber << 8) | programming,
    name: name === "" ? undefined : name,
    vendor: hex(pair?.[1] ?? unnamed?.[1]) ?? vendorByName(name),
    device: hex(pair?.[2] ?? unnamed?.[2]),
    revision,
  };
};

/** Vendors that device-specific rules ask for, by the start of their names, which have stood unchanged. */
const VENDOR_NAMES: readonly (readonly [RegExp, number])[] = [
  [/^Intel Corp/i, 0x8086],
  [/^Advanced Micro Devices, Inc\. \[AMD\/ATI\]/i, 0x1002],
  [/^Advanced Micro Devices, Inc\. \[AMD\]/i, 0x1022],
  [/^NVIDIA Corp/i, 0x10de],
  [/^(?:Solarflare|Xilinx.*Solarflare)/i, 0x1924],
  [/^Broadcom/i, 0x14e4],
  [/^Cavium/i, 0x177d],
  [/^Zhaoxin/i, 0x1d17],
  [/^Beijing Wangxun/i, 0x8088],
];

const vendorByName = (name: string): number | undefined => VENDOR_NAMES.find(([pattern]) => pattern.test(name))?.[1];
