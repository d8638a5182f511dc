import { useMemo } from "preact/hooks";
import type { VNode } from "preact";
import { HostPicker } from "../../host/host-picker.tsx";
import type { OpenedHost } from "../../host/open-host.ts";
import { hostNow, useHost } from "../../host/use-host.ts";
import type { Language } from "../../text/words.ts";
import { Choice, Tick, Whole } from "../../ui/controls.tsx";
import { Table, tableText } from "../../ui/table.tsx";
import { view, type ViewProps } from "../view.ts";
import "./addresses.css";
import { LANES, type Region } from "./regions.ts";
import { makeScale } from "./scale.ts";
import { BAR_SIZES, readAddresses, type AddressesSettings } from "./settings.ts";
import { addressesWords } from "./text.ts";
import { planAddresses, type AddressPlan } from "./verdicts.ts";

type Props = ViewProps<AddressesSettings>;
const hex = (value: bigint): string => `0x${value.toString(16)}`;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** "256 MiB". */
const sizeText = (size: bigint): string => {
  let [rest, unit] = [size, 0];
  while (rest >= 1024n && rest % 1024n === 0n && unit < UNITS.length - 1) {
    rest /= 1024n;
    unit++;
  }
  return rest >= 100_000n ? `${hex(size)} B` : `${rest} ${UNITS[unit] ?? ""}`;
};

/** What comes of the choice, each with whether it is well; undefined where it is not known. */
const outcomes = ({ host, guest, beyond, barSize, processorBits, iommuBits, assumed }: AddressPlan, { above4g }: AddressesSettings, language: Language): { readonly good: boolean | undefined; readonly text: string }[] => {
  const say = addressesWords(language);
  const [size, end] = [sizeText(barSize), hex((1n << BigInt(iommuBits)) - 1n)];
  const window = sizeText(guest.window.last - guest.window.first + 1n);
  return [
    host.bar ? { good: true, text: say("hostFits", { size, at: hex(host.bar.first) }) } : { good: false, text: above4g ? say("hostBits", { size, bits: processorBits }) : say("hostFails", { size, free: sizeText(host.free) }) },
    guest.bar ? { good: true, text: say("guestFits", { at: hex(guest.bar.first), window }) } : { good: false, text: say("guestFails", { window, size, more: String((2n * barSize) >> 20n) }) },
    beyond === undefined ? { good: true, text: say("within", { end }) } : { good: false, text: say("beyond", { last: hex(beyond), bits: iommuBits, end }) },
    ...(assumed ? [{ good: undefined, text: say("assumed", { bits: iommuBits }) }] : []),
  ];
};

const [LANE, GAP, LABELS] = [190, 24, 130];

const Lanes = ({ plan, language, selected, onSelect }: { readonly plan: AddressPlan; readonly language: Language; readonly selected: string | undefined; readonly onSelect: (region: Region) => void }): VNode => {
  const say = addressesWords(language);
  const limit = 1n << BigInt(plan.iommuBits);
  const scale = makeScale(plan.regions, [limit, 1n << 32n]);
  const width = LABELS + LANES.length * (LANE + GAP);
  const y = (address: bigint): number => 24 + scale.at(address);
  return (
    <div class="scroll" role="group" aria-label={say("drawing")} tabIndex={0}>
      <svg class="drawing lanes" role="img" aria-label={say("drawing")} width={width} height={scale.height + 40} viewBox={`0 0 ${width} ${scale.height + 40}`}>
        <title>{say("drawing")}</title>
        {LANES.map((lane, i) => <text key={lane} class="head" x={LABELS + i * (LANE + GAP)} y={16}>{say(lane)}</text>)}
        {LANES.map((lane, i) => <rect key={lane} class="lane" x={LABELS + i * (LANE + GAP)} y={y(0n)} width={LANE} height={scale.height - 20} />)}
        {plan.regions.map((region, i) => {
          const [x, top] = [LABELS + LANES.indexOf(region.lane) * (LANE + GAP), y(region.first)];
          const height = Math.max(6, y(region.last + 1n) - top);
          return (
            <g key={i} class={`region ${region.kind}${hex(region.first) === selected ? " selected" : ""}`} onClick={() => { onSelect(region); }}>
              <title>{`${region.name}: ${hex(region.first)} – ${hex(region.last)}`}</title>
              <rect x={x} y={top} width={LANE} height={height} />
              {height >= 12 && <text class="small" x={x + 5} y={top + Math.min(height - 3, 12)}>{region.name.slice(0, 28)}</text>}
            </g>
          );
        })}
        {[...new Set([0n, 1n << 32n, ...plan.regions.filter(({ last, first }) => last - first >= 1n << 24n).map(({ first }) => first)])].map((mark) => <text key={hex(mark)} class="mono small" x={LABELS - 8} y={y(mark) + 4} text-anchor="end">{hex(mark)}</text>)}
        <path class="limit" d={`M${LABELS - 6} ${y(limit)}H${width - GAP}`} />
        <text class="limit-text" x={width - GAP} y={y(limit) - 4} text-anchor="end">{say("limit", { bits: plan.iommuBits })}</text>
      </svg>
    </div>
  );
};

const Controls = ({ settings, keep, language }: Pick<Props, "settings" | "keep" | "language">): VNode => {
  const say = addressesWords(language);
  return (
    <div class="row">
      <Choice label={say("resize")} name="bar" value={String(settings.bar)} options={BAR_SIZES.map((bits) => [String(bits), sizeText(1n << BigInt(20 + bits))])} onChange={(bar) => { keep({ bar: Number(bar) }); }} />
      <Tick label={say("above4g")} name="above4g" on={settings.above4g} onChange={(above4g) => { keep({ above4g }); }} />
      <Whole label={say("processorBits")} name="processor-bits" value={settings.processorBits} least={0} most={52} onChange={(processorBits) => { keep({ processorBits }); }} />
      <Whole label={say("iommuBits")} name="iommu-bits" value={settings.iommuBits} least={0} most={57} onChange={(iommuBits) => { keep({ iommuBits }); }} />
      <Whole label={say("guestMemory")} name="guest-memory" value={settings.guestMemory} least={64} most={2 ** 24} onChange={(guestMemory) => { keep({ guestMemory }); }} />
      <Whole label={say("windowSize")} name="window" value={settings.window} least={1} most={2 ** 16} onChange={(window) => { keep({ window }); }} />
      <Choice label={say("place")} name="place" value={settings.place} options={[["memory", say("behind")], ["top", say("top")]]} onChange={(place) => { keep({ place }); }} />
    </div>
  );
};

const sorted = (regions: readonly Region[]): Region[] => LANES.flatMap((lane) => regions.filter((region) => region.lane === lane).toSorted((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0)));

const Shown = ({ host, ...props }: Props & { readonly host: OpenedHost }): VNode => {
  const { settings, state, store, language } = props;
  const say = addressesWords(language);
  const plan = useMemo(() => planAddresses(host.snapshot, settings), [host.snapshot, JSON.stringify(settings)]);
  const rows = sorted(plan.regions);
  const selected = state.selection.address;
  const select = (region: Region): void => { store.select({ address: hex(region.first), device: region.device }); };
  return (
    <>
      <Controls {...props} />
      <h2>{say("outcome")}</h2>
      <div role="status"><ul class="outcomes">{outcomes(plan, settings, language).map(({ good, text: sentence }) => <li key={sentence} class={good === undefined ? undefined : good ? "good" : "bad"}>{good === undefined ? "?" : good ? "✓" : "✗"} {sentence}</li>)}</ul></div>
      <Lanes plan={plan} language={language} selected={selected} onSelect={select} />
      <h2>{say("table")}</h2>
      <Table caption={say("table")} heads={[say("first"), say("last"), say("size"), say("lane"), say("name"), say("kind")]} current={new Set(rows.flatMap((region, i) => (hex(region.first) === selected ? [i] : [])))} onRow={(i) => { const region = rows[i]; if (region) select(region); }} rows={rows.map(({ first, last, lane, name, kind }) => [<code key="first">{hex(first)}</code>, <code key="last">{hex(last)}</code>, sizeText(last - first + 1n), say(lane), name, say(kind)])} />
    </>
  );
};

const Body = (props: Props): VNode => {
  const { settings, store, language } = props;
  const host = useHost(settings.host);
  return (
    <article>
      <h1>{addressesWords(language)("title")}</h1>
      <HostPicker store={store} choice={settings.host} host={host} language={language} reset={{ edits: [], devices: [] }} />
      {host && <Shown {...props} host={host} />}
    </article>
  );
};

const text = ({ settings, language }: Props): string => {
  const say = addressesWords(language);
  const host = hostNow(settings.host);
  if (!host) return "";
  const plan = planAddresses(host.snapshot, settings);
  return [...outcomes(plan, settings, language).map(({ good, text: sentence }) => `${good === undefined ? "?" : good ? "ok" : "NOT OK"} ${sentence}`), "", tableText([say("first"), say("last"), say("size"), say("lane"), say("name"), say("kind")], sorted(plan.regions).map(({ first, last, lane, name, kind }) => [hex(first), hex(last), sizeText(last - first + 1n), say(lane), name, say(kind)]))].join("\n");
};

/** Whose addresses are what: the machine's, the device's and the guest's, side by side. */
export const VIEW = view<AddressesSettings>({ read: readAddresses, Body, text });
