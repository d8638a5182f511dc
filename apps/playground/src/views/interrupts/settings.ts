import { readEdits, type Edits } from "../entries/edits.ts";
import { integer, oneOf, record } from "../view.ts";

/** Processors of the bench, by APIC ID. */
export const PROCESSORS = 4;
/** So many messages are sent at most. */
export const MOST_MESSAGES = 32;
export const OWNER = 0x0100;
export const STRANGER = 0x0300;

/** What the view keeps: a message by hand, the entry it meets, and where the guest runs. */
export interface InterruptSettings {
  readonly vendor: "intel" | "amd";
  /** 32 bits each. */
  readonly address: number;
  readonly data: number;
  readonly requester: number;
  /** How often it is sent. */
  readonly messages: number;
  /** CFI: compatibility format may pass (VT-d, without EIME). */
  readonly compatibility: boolean;
  /** EIME or XTEn: destinations have 32 bits. */
  readonly extended: boolean;
  /** AMD: entries of 128 bits. */
  readonly wide: boolean;
  /** The entry posts into the virtual processor's structure. */
  readonly posted: boolean;
  /** The physical processor that the virtual one is on, and whether it runs. */
  readonly processor: number;
  readonly running: boolean;
  /** SN: notifications are suppressed (VT-d). */
  readonly suppressed: boolean;
  readonly edits: Edits;
}

/** Remappable format, index 1. */
const ADDRESS = 0xfee0_0030;

const word = (value: unknown, otherwise: number): number => integer(value, [0, 0xffff_ffff], otherwise);

/** Reads settings out of anything. */
export const readInterrupts = (kept: unknown): InterruptSettings => {
  const { vendor, address, data, requester, messages, compatibility, extended, wide, posted, processor, running, suppressed, edits } = record(kept);
  const chosen = oneOf(vendor, ["intel", "amd"]);
  return {
    vendor: chosen,
    address: word(address, chosen === "intel" ? ADDRESS : 0xfee0_0000),
    data: word(data, chosen === "intel" ? 0 : 1),
    requester: integer(requester, [0, 0xffff], OWNER),
    messages: integer(messages, [1, MOST_MESSAGES], 3),
    compatibility: compatibility === true,
    extended: extended !== false,
    wide: wide !== false,
    posted: posted === true,
    processor: integer(processor, [0, PROCESSORS - 1], 1),
    running: running !== false,
    suppressed: suppressed === true,
    edits: readEdits(edits),
  };
};
