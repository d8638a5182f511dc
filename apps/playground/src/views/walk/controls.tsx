import { NO_PASID } from "@iommu-lab/pci-bus";
import type { VNode } from "preact";
import type { Language } from "../../text/words.ts";
import { Choice, Hexadecimal, Tick } from "../../ui/controls.tsx";
import { canSkip, LEAF_LEVELS, MODE_IDS, MODES } from "./modes.ts";
import { BOUND, BOUND_PASID, type WalkSettings } from "./settings.ts";
import { modeWords, type WalkSay } from "./text.ts";

interface ControlsProps {
  readonly settings: WalkSettings;
  readonly keep: (patch: Partial<WalkSettings>) => void;
  readonly language: Language;
  readonly say: WalkSay;
}

/** A PASID that shares no directory row with the bound ones. */
const STRANGE_PASID = 70;
const STRANGE = 0x0300;

const randomAddress = (bits: number): string => {
  const [low = 0, high = 0] = crypto.getRandomValues(new Uint32Array(2));
  return `0x${(((BigInt(high) << 32n) | BigInt(low)) & ((1n << BigInt(bits)) - 1n)).toString(16)}`;
};

/** The request, and the tables it meets. */
export const WalkControls = ({ settings, keep, language, say }: ControlsProps): VNode => {
  const mode = MODES[settings.mode];
  const name = modeWords(language);
  const edits = Object.keys(settings.edits).length;
  // Other tables stand elsewhere: edits of the old ones would hit anything.
  const rebuild = (patch: Partial<WalkSettings>): void => { keep({ ...patch, edits: {}, at: 0 }); };
  return (
    <form class="walk-controls" onSubmit={(event) => { event.preventDefault(); }}>
      <Choice label={say("mode")} name="mode" value={settings.mode} options={MODE_IDS.map((id) => [id, name(id)])} onChange={(chosen) => { rebuild({ mode: chosen }); }} />
      <Choice label={say("size")} name="size" value={settings.size} options={(Object.keys(LEAF_LEVELS) as (keyof typeof LEAF_LEVELS)[]).map((size) => [size, size])} onChange={(size) => { rebuild({ size }); }} />
      {canSkip(mode, settings.size) && <Tick label={say("skip")} name="skip" on={settings.skip} onChange={(skip) => { rebuild({ skip }); }} />}
      <Choice label={say("requester")} name="requester" value={String(settings.requester)} options={[[String(BOUND), say("bound", { device: "01:00.0" })], [String(STRANGE), say("strange", { device: "03:00.0" })], ...(settings.requester === BOUND || settings.requester === STRANGE ? [] : [[String(settings.requester), String(settings.requester)] as const])]} onChange={(requester) => { keep({ requester: Number(requester), at: 0 }); }} />
      <Choice label={say("pasid")} name="pasid" value={String(settings.pasid)} options={[[String(NO_PASID), say("noPasid")], [String(BOUND_PASID), say("boundPasid")], [String(STRANGE_PASID), say("strangePasid")], ...([NO_PASID, BOUND_PASID, STRANGE_PASID].includes(settings.pasid) ? [] : [[String(settings.pasid), String(settings.pasid)] as const])]} onChange={(pasid) => { keep({ pasid: Number(pasid), at: 0 }); }} />
      <Hexadecimal label={say("address")} name="address" value={settings.address} onChange={(address) => { keep({ address, at: 0 }); }} />
      <Choice label={say("access")} name="access" value={settings.access} options={[["read", say("read")], ["write", say("write")], ["execute", say("execute")]]} onChange={(access) => { keep({ access }); }} />
      <button type="button" onClick={() => { rebuild({ mapped: settings.address }); }}>{say("mapHere")}</button>
      <button type="button" onClick={() => { const address = randomAddress(Math.min(47, 12 + 9 * (mode.levels || 3))); rebuild({ address, mapped: address }); }}>{say("random")}</button>
      {edits > 0 && <button type="button" onClick={() => { keep({ edits: {} }); }}>{say("restoreAll", { count: edits })}</button>}
    </form>
  );
};
