declare const space: unique symbol;
/** Bus (15:8), device (7:3), function (2:0): what a TLP carries. PCIe §2.2.6.2 "Transaction Descriptor". Printed `bb:dd.f`. */
export type RequesterId = number & { readonly [space]?: "RID" };

/** Where a function is on a machine: PCI segment (0 to 2^32 - 1; Linux: domain, VMD uses 0x10000 and up) and requester ID. */
export interface FunctionAddress {
  readonly domain: number;
  readonly requester: RequesterId;
}

/**
 * Packs bus, device and function.
 * @throws RangeError when one does not fit (bus 8 bits, device 5, function 3)
 */
export const requesterId = (bus: number, device: number, fn: number): RequesterId => {
  if (!(bus >= 0 && bus < 256 && device >= 0 && device < 32 && fn >= 0 && fn < 8)) throw new RangeError(`No requester ID has bus ${bus}, device ${device}, function ${fn}; bus < 256, device < 32, function < 8.`);
  return (bus << 8) | (device << 3) | fn;
};

/** Bus number, 8 bits. */
export const busOf = (requester: RequesterId): number => (requester >> 8) & 0xff;
/** Device number, 5 bits. */
export const deviceOf = (requester: RequesterId): number => (requester >> 3) & 0x1f;
/** Function number, 3 bits. */
export const functionOf = (requester: RequesterId): number => requester & 7;
/** Device and function, 8 bits: the slot of a context table. */
export const devfnOf = (requester: RequesterId): number => requester & 0xff;

const hexDigits = (value: number, width: number): string => value.toString(16).padStart(width, "0");

/** `bb:dd.f` in lower case. */
export const formatRequester = (requester: RequesterId): string => `${hexDigits(busOf(requester), 2)}:${hexDigits(deviceOf(requester), 2)}.${functionOf(requester)}`;

/** `dddd:bb:dd.f` in lower case; a domain past 16 bits gets the digits it needs. */
export const formatAddress = ({ domain, requester }: FunctionAddress): string => `${hexDigits(domain, 4)}:${formatRequester(requester)}`;

const ADDRESS = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i;

/** Reads `bb:dd.f` (domain 0) or `dddd:bb:dd.f`; undefined when the text is no address. */
export const parseAddress = (text: string): FunctionAddress | undefined => {
  const match = ADDRESS.exec(text);
  if (!match) return undefined;
  const device = Number.parseInt(match[3] ?? "", 16);
  if (device > 31) return undefined;
  return { domain: Number.parseInt(match[1] ?? "0", 16), requester: requesterId(Number.parseInt(match[2] ?? "", 16), device, Number(match[4])) };
};

/** Orders by domain, then requester ID: the order in which Linux lists functions. */
export const compareAddresses = (a: FunctionAddress, b: FunctionAddress): number => a.domain - b.domain || a.requester - b.requester;
