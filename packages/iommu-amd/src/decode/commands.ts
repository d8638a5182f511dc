import { decodeBits, hex, requesterText, type Fact, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { COMMANDS } from "../layouts/index.ts";
import { codedSize } from "./page-table-entries.ts";

const low = (value: bigint, at: number, width: number): number => Number((value >> BigInt(at)) & ((1n << BigInt(width)) - 1n));

interface Account {
  readonly facts: Readonly<Record<string, Fact>>;
  readonly meaning: string;
  readonly findings?: readonly Finding[];
}

/** Sizes from here on mean everything: no address reaches further. */
const EVERYTHING = 1n << 52n;

/** The addresses of an invalidation: one page, or with S as many as the ones at the bottom of the address say. */
const range = (value: bigint): { readonly facts: Readonly<Record<string, Fact>>; readonly text: string } => {
  const number = value >> 76n;
  const bytes = low(value, 64, 1) ? codedSize(number) : 4096n;
  if (bytes >= EVERYTHING) return { facts: { everything: true }, text: "all addresses" };
  const first = ((number << 12n) / bytes) * bytes;
  return { facts: { everything: false, address: first, bytes }, text: `${hex(first)} to ${hex(first + bytes - 1n)}` };
};

const RESPONSES: Readonly<Record<number, string>> = { 0: "the pages are there", 1: "the request was invalid", 15: "the page request failed for good" };

const tellers: Readonly<Record<number, (value: bigint, offset: number) => Account>> = {
  1: (value, offset) => {
    const [store, interrupt, flush] = [low(value, 0, 1), low(value, 1, 1), low(value, 2, 1)];
    const [address, data] = [value & 0x000f_ffff_ffff_fff8n, value >> 64n];
    const parts = [...(store ? [`writes ${hex(data)} to ${hex(address)}`] : []), ...(interrupt ? ["raises the completion interrupt"] : [])];
    return {
      facts: { store: store === 1, storeAddress: address, storeData: data, interrupt: interrupt === 1, flush: flush === 1 },
      meaning: `Waits for all commands before it, then ${parts.length > 0 ? parts.join(" and ") : "does nothing"}.`,
      findings: parts.length > 0 ? [] : [{ id: "command-wait-silent", offset, text: "The wait neither stores nor interrupts: nobody learns that it is done." }],
    };
  },
  2: (value) => {
    const requester = requesterText(low(value, 0, 16));
    return { facts: { requester }, meaning: `Forgets the device table entry of ${requester}.` };
  },
  3: (value) => {
    const [domain, pasid, { facts, text }] = [low(value, 32, 16), low(value, 66, 1) ? low(value, 0, 20) : null, range(value)];
    return { facts: { domain, pasid, ...facts, directories: low(value, 65, 1) === 1 }, meaning: `Forgets translations of ${text}${pasid === null ? "" : ` of PASID ${hex(pasid)}`} in domain ${domain}${low(value, 65, 1) ? ", with page directory entries" : ""}.` };
  },
  4: (value) => {
    const requester = requesterText(low(value, 0, 16));
    const pasid = low(value, 66, 1) ? (low(value, 56, 4) << 16) | (low(value, 16, 8) << 8) | low(value, 48, 8) : null;
    const { facts, text } = range(value);
    return { facts: { requester, queue: low(value, 32, 16), maximumPending: low(value, 24, 8), pasid, ...facts }, meaning: `Asks the device-TLB of ${requester} to forget ${text}${pasid === null ? "" : ` of PASID ${hex(pasid)}`}.` };
  },
  5: (value) => {
    const requester = requesterText(low(value, 0, 16));
    return { facts: { requester }, meaning: `Forgets the interrupt remapping entries of ${requester}.` };
  },
  6: (value) => {
    const requester = requesterText(low(value, 0, 16));
    const [address, pages, pasid] = [(value >> 76n) << 12n, low(value, 24, 8) + 1, low(value, 66, 1) ? low(value, 32, 20) : null];
    return { facts: { requester, address, pages, pasid, invalidate: low(value, 68, 1) === 1 }, meaning: `Fetches the translations of ${pages} ${pages === 1 ? "page" : "pages"} from ${hex(address)} on for ${requester}${pasid === null ? "" : ` with PASID ${hex(pasid)}`}${low(value, 68, 1) ? ", after forgetting the old ones" : ""}.` };
  },
  7: (value) => {
    const requester = requesterText(low(value, 0, 16));
    const [group, response, pasid] = [low(value, 96, 9), low(value, 108, 4), low(value, 66, 1) ? low(value, 32, 20) : null];
    return { facts: { requester, group, response, pasid }, meaning: `Answers page request group ${group} of ${requester}${pasid === null ? "" : ` with PASID ${hex(pasid)}`}: ${RESPONSES[response] ?? `code ${response}`}.` };
  },
  8: () => ({ facts: {}, meaning: "Forgets everything that the IOMMU has cached." }),
};

/** A command of the command buffer. AMD-Vi §2.4 "Commands". */
export const decodeCommand = (value: bigint, offset = 0): Told => {
  const opcode = low(value, 60, 4);
  const [layout, teller] = [COMMANDS[opcode], tellers[opcode]];
  if (!layout || !teller) {
    const text = opcode === 0 ? "Opcode 0 is no command: a slot that was never written." : `Opcode ${opcode} is not known here.`;
    return { structure: { name: `command with opcode ${opcode}`, offset, value, width: 128, fields: [], facts: { opcode }, meaning: [] }, findings: [{ id: "command-opcode-invalid", offset, text: `${text} An IOMMU that does not know it logs ILLEGAL_COMMAND_ERROR and stops.` }] };
  }
  const { facts, meaning, findings = [] } = teller(value, offset);
  return decodeBits(layout, value, offset, { facts: { opcode, ...facts }, meaning: [meaning], findings });
};
