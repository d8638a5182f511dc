import { NO_PASID } from "@iommu-lab/pci-bus";
import { readEdits, type Edits } from "../entries/edits.ts";
import { integer, oneOf, record } from "../view.ts";
import { MODE_IDS, type ModeId, type PageSize } from "./modes.ts";

/** What the view keeps: a request, the tables it meets, and how far its walk is looked at. */
export interface WalkSettings {
  /** A request of one's own, or the decision about the current event of the run. */
  readonly source: "lab" | "run";
  readonly mode: ModeId;
  readonly size: PageSize;
  /** Levels between the top and the page are left out (AMD's host tables). */
  readonly skip: boolean;
  /** 16 bits. */
  readonly requester: number;
  /** 20 bits, or `NO_PASID`. */
  readonly pasid: number;
  readonly address: string;
  readonly access: "read" | "write" | "execute";
  /** The address whose page is mapped, with some neighbours. */
  readonly mapped: string;
  readonly edits: Edits;
  /** The step looked at, from 0. */
  readonly at: number;
}

/** The function that the bench has bound: 01:00.0. */
export const BOUND = 0x0100;
/** The PASID that it has bound beside none. */
export const BOUND_PASID = 5;
const ADDRESS = /^0x[0-9a-f]{1,16}$/;
const FIRST_ADDRESS = "0x7f12345678";

const address = (value: unknown): string => (typeof value === "string" && ADDRESS.test(value) ? value : FIRST_ADDRESS);

/** Reads settings out of anything. */
export const readWalk = (kept: unknown): WalkSettings => {
  const { source, mode, size, skip, requester, pasid, address: asked, access, mapped, edits, at } = record(kept);
  return {
    source: oneOf(source, ["lab", "run"]),
    mode: MODE_IDS.find((id) => id === mode) ?? "vtd-legacy-4",
    size: oneOf(size, ["4K", "2M", "1G"]),
    skip: skip === true,
    requester: integer(requester, [0, 0xffff], BOUND),
    pasid: integer(pasid, [NO_PASID, 0xf_ffff], NO_PASID),
    address: address(asked),
    access: oneOf(access, ["read", "write", "execute"]),
    mapped: address(mapped),
    edits: readEdits(edits),
    at: integer(at, [0, 200], 0),
  };
};
