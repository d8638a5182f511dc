import { decodeBits, hex, requesterText, type Fact, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { DESCRIPTORS } from "../layouts/index.ts";

const low = (value: bigint, at: number, width: number): number => Number((value >> BigInt(at)) & ((1n << BigInt(width)) - 1n));

/** The range of a page-selective invalidation. VT-d §6.5.2.3. */
const maskedRange = (page: bigint, mask: number): { readonly first: bigint; readonly pages: bigint; readonly aligned: boolean } => {
  const pages = 1n << BigInt(mask);
  return { first: (page / pages) * pages << 12n, pages, aligned: page % pages === 0n };
};

/** The range of a device-TLB invalidation with S: as many pages as the run of ones from bit 12 says. PCIe §10.3.2. */
const sizedRange = (page: bigint): { readonly first: bigint; readonly pages: bigint } => {
  let ones = 0n;
  for (let rest = page; (rest & 1n) === 1n && ones < 52n; rest >>= 1n) ones++;
  const pages = 1n << (ones + 1n);
  return { first: (page / pages) * pages << 12n, pages };
};

const rangeText = (first: bigint, pages: bigint): string => `${hex(first)} to ${hex(first + pages * 4096n - 1n)}`;

interface Account {
  readonly facts: Record<string, Fact>;
  readonly meaning: readonly string[];
  readonly findings: readonly Finding[];
}

const badGranularity = (offset: number, what: string): Finding => ({ id: "descriptor-granularity-reserved", offset, text: `The granularity is reserved for a ${what}: the unit stops with an invalidation queue error.` });

const tellPages = (value: bigint, offset: number): { readonly facts: Record<string, Fact>; readonly text: string; readonly findings: readonly Finding[] } => {
  const { first, pages, aligned } = maskedRange(value >> 76n, low(value, 64, 6));
  const findings = aligned ? [] : [{ id: "descriptor-address-unaligned", offset, text: "The address is not aligned to the pages that AM says; hardware ignores the low bits." }];
  return { facts: { address: first, pages }, text: `pages ${rangeText(first, pages)}${low(value, 70, 1) ? ", leaf entries only" : ""}`, findings };
};

const tellers: Readonly<Record<number, (value: bigint, offset: number) => Account>> = {
  1: (value, offset) => {
    const [g, domain, source] = [low(value, 4, 2), low(value, 16, 16), requesterText(low(value, 32, 16))];
    const scope = ["", "of all domains", `of domain ${domain}`, `of ${source} in domain ${domain} (function mask ${low(value, 48, 2)})`][g] as string;
    return { facts: { granularity: g, domain, requester: source }, meaning: [`Forgets context entries ${scope}.`], findings: g === 0 ? [badGranularity(offset, "context-cache invalidation")] : [] };
  },
  2: (value, offset) => {
    const [g, domain] = [low(value, 4, 2), low(value, 16, 16)];
    const pages = tellPages(value, offset);
    const scope = ["", "everything", `all of domain ${domain}`, `${pages.text} of domain ${domain}`][g] as string;
    const drains = [...(low(value, 6, 1) ? ["writes"] : []), ...(low(value, 7, 1) ? ["reads"] : [])];
    return {
      facts: { granularity: g, domain, ...(g === 3 ? pages.facts : {}) },
      meaning: [`Forgets translations: ${scope}${drains.length > 0 ? `; ${drains.join(" and ")} in flight are waited for` : ""}.`],
      findings: g === 0 ? [badGranularity(offset, "IOTLB invalidation")] : g === 3 ? pages.findings : [],
    };
  },
  3: (value) => {
    const source = requesterText(low(value, 32, 16));
    const { first, pages } = low(value, 64, 1) ? sizedRange(value >> 76n) : { first: (value >> 76n) << 12n, pages: 1n };
    return { facts: { requester: source, address: first, pages }, meaning: [`Asks the device-TLB of ${source} to forget ${rangeText(first, pages)}.`], findings: [] };
  },
  4: (value) => {
    const [index, mask] = [low(value, 32, 16), low(value, 27, 5)];
    const single = low(value, 4, 1) === 1;
    return { facts: { global: !single, index, entries: 2 ** mask }, meaning: [single ? `Forgets 2^${mask} interrupt remapping entries from index ${index} on.` : "Forgets all interrupt remapping entries."], findings: [] };
  },
  5: (value, offset) => {
    const [data, address] = [low(value, 32, 32), (value >> 64n) & ~3n];
    const [flag, write, fence] = [low(value, 4, 1), low(value, 5, 1), low(value, 6, 1)];
    const parts = [...(write ? [`writes ${hex(data)} to ${hex(address)}`] : []), ...(flag ? ["raises the completion interrupt"] : []), ...(fence ? ["holds back what follows"] : []), ...(low(value, 7, 1) ? ["waits for page requests"] : [])];
    return {
      facts: { statusWrite: write === 1, statusAddress: address, statusData: data, interrupt: flag === 1, fence: fence === 1 },
      meaning: [`Waits for all before it, then ${parts.length > 0 ? parts.join(", ") : "does nothing"}.`],
      findings: parts.length > 0 ? [] : [{ id: "descriptor-wait-silent", offset, text: "The wait neither writes a status nor interrupts: nobody learns that it is done." }],
    };
  },
  6: (value, offset) => {
    const [g, domain, pasid] = [low(value, 4, 2), low(value, 16, 16), low(value, 32, 20)];
    const pages = tellPages(value, offset);
    return {
      facts: { granularity: g, domain, pasid, ...(g === 3 ? pages.facts : {}) },
      meaning: [`Forgets translations of PASID ${hex(pasid)} in domain ${domain}: ${g === 3 ? pages.text : "all"}.`],
      findings: g < 2 ? [badGranularity(offset, "PASID-based IOTLB invalidation")] : g === 3 ? pages.findings : [],
    };
  },
  7: (value, offset) => {
    const [g, domain, pasid] = [low(value, 4, 2), low(value, 16, 16), low(value, 32, 20)];
    const scope = [`of domain ${domain}`, `of PASID ${hex(pasid)} in domain ${domain}`, "", "of all domains"][g] as string;
    return { facts: { granularity: g, domain, pasid }, meaning: [`Forgets PASID table entries ${scope}.`], findings: g === 2 ? [badGranularity(offset, "PASID-cache invalidation")] : [] };
  },
  8: (value) => {
    const [source, pasid] = [requesterText(low(value, 16, 16)), low(value, 32, 20)];
    const { first, pages } = low(value, 75, 1) ? sizedRange(value >> 76n) : { first: (value >> 76n) << 12n, pages: 1n };
    return { facts: { requester: source, pasid, address: first, pages }, meaning: [`Asks the device-TLB of ${source} to forget ${rangeText(first, pages)} of ${low(value, 64, 1) ? "every PASID" : `PASID ${hex(pasid)}`}.`], findings: [] };
  },
  9: (value) => {
    const [source, pasid, code] = [requesterText(low(value, 16, 16)), low(value, 32, 20), low(value, 12, 4)];
    const answer = code === 0 ? "the pages are there" : code === 1 ? "the request was invalid" : code === 15 ? "the page request failed for good" : `code ${code}`;
    return { facts: { requester: source, pasid: low(value, 4, 1) ? pasid : null, group: low(value, 67, 9), response: code }, meaning: [`Answers page request group ${low(value, 67, 9)} of ${source}: ${answer}.`], findings: [] };
  },
};

/**
 * An invalidation queue descriptor. VT-d §6.5.2.
 * @param width 128, or 256 in scalable mode, where the upper half must be zero
 */
export const decodeDescriptor = (value: bigint, width: 128 | 256 = 128, offset = 0): Told => {
  const type = low(value, 0, 4) | (low(value, 9, 3) << 4);
  const layout = DESCRIPTORS[type as keyof typeof DESCRIPTORS] as (typeof DESCRIPTORS)[1] | undefined;
  const teller = tellers[type];
  const wide: Finding[] = width === 256 && value >> 128n !== 0n ? [{ id: "reserved-bits", offset, text: "The upper half of a 256-bit descriptor is not zero." }] : [];
  if (!layout || !teller) {
    const text = type === 0 ? "Type 0 is no descriptor: a slot that was never written." : type === 0xa ? "Type 10 was withdrawn with the extended-context mode." : `Type ${type} is no descriptor.`;
    return { structure: { name: `descriptor of type ${type}`, offset, value, width, fields: [], facts: { type }, meaning: [] }, findings: [{ id: "descriptor-type-invalid", offset, text: `${text} A unit that fetches it stops with an invalidation queue error.` }, ...wide] };
  }
  const { facts, meaning, findings } = teller(value, offset);
  const { structure, findings: more } = decodeBits(layout, value & ((1n << 128n) - 1n), offset, { facts: { type, ...facts }, meaning, findings });
  return { structure: { ...structure, value, width }, findings: [...more, ...wide] };
};

