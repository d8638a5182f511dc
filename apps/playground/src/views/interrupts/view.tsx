import { MESSAGE_ADDRESS, MESSAGE_DATA } from "@iommu-lab/interrupt-remap";
import { REMAPPABLE_ADDRESS, REMAPPABLE_DATA } from "@iommu-lab/interrupt-remap/vtd";
import type { VNode } from "preact";
import { tell, Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Choice, Hexadecimal, Tick, Whole } from "../../ui/controls.tsx";
import { Table } from "../../ui/table.tsx";
import { BitEditor } from "../entries/bit-editor.tsx";
import { hex, withWords } from "../entries/edits.ts";
import { view, type ViewProps } from "../view.ts";
import { runInterrupts, type InterruptLab, type Shown } from "./lab.ts";
import { Path } from "./path.tsx";
import { MOST_MESSAGES, OWNER, PROCESSORS, readInterrupts, STRANGER, type InterruptSettings } from "./settings.ts";
import { interruptWords, type InterruptSay } from "./text.ts";
import "./interrupts.css";

/** Bit 4 of the address: remappable format. */
const REMAPPABLE = 0x10;

const verdict = ({ fault, delivered, notifications, pending, steps }: InterruptLab, say: InterruptSay, language: Language): string => {
  const last = delivered.at(-1);
  if (fault !== 0 || (!last && notifications.length === 0)) return say("blocked", { reason: tell(steps.findLast(({ outcome }) => outcome.startsWith("blocked"))?.outcome ?? hex(fault), language) });
  if (last) return say("delivered", { count: delivered.length, vector: hex(last.vector), destination: last.destination });
  return say("posted_", { count: notifications.length, sent: notifications.filter(({ kind }) => kind !== "none").length, vectors: pending.map(hex).join(" ") });
};

const notificationText = (notification: InterruptLab["notifications"][number], n: number, say: InterruptSay): string => {
  switch (notification.kind) {
    case "interrupt": return say("interrupt", { n, vector: hex(notification.interrupt.vector), destination: notification.interrupt.destination });
    case "doorbell": return say("doorbell", { n, destination: notification.apicId });
    case "log": return say("log", { n, tag: notification.tag });
    default: return say("none", { n });
  }
};

const Body = ({ settings, keep, language, state, store }: ViewProps<InterruptSettings>): VNode => {
  const say = interruptWords(language);
  const lab = runInterrupts(settings);
  const { vendor, address, data, edits } = settings;
  const intel = vendor === "intel";
  const remappable = intel && (address & REMAPPABLE) !== 0;
  const field = { selected: state.selection.field, onField: (name: string): void => { store.select({ field: name }); }, language };
  // Another setup writes other entries: edits of the old ones would be in their way.
  const rebuild = (patch: Partial<InterruptSettings>): void => { keep({ ...patch, edits: {} }); };
  const editor = (title: string, { layout, address: at, words }: Shown): VNode => <section><h2>{title}</h2><p><Told text={layout.name} language={language} /> <span lang="en">({layout.spec})</span>, <code>{hex(at)}</code></p><BitEditor layout={layout} words={words} onWords={(chosen) => { keep({ edits: withWords(edits, at, chosen) }); }} {...field} /></section>;
  const exits = [true, false].map((posted) => runInterrupts({ ...settings, posted, edits: settings.posted === posted ? edits : {} }).exits);
  return (
    <article class="interrupts">
      <h1>{say("title")}</h1>
      <p>{say("about")}</p>
      <form class="row" onSubmit={(event) => { event.preventDefault(); }}>
        <Choice label={say("vendor")} name="vendor" value={vendor} options={[["intel", "Intel VT-d"], ["amd", "AMD-Vi"]]} onChange={(chosen) => { rebuild({ vendor: chosen, address: chosen === "intel" ? 0xfee0_0030 : 0xfee0_0000, data: chosen === "intel" ? 0 : 1 }); }} />
        <Choice label={say("requester")} name="requester" value={String(settings.requester)} options={[[String(OWNER), say("owner")], [String(STRANGER), say("stranger")]]} onChange={(chosen) => { keep({ requester: Number(chosen) }); }} />
        <Hexadecimal label={say("address")} name="address" value={hex(address)} bits={32} onChange={(value) => { keep({ address: Number(value) }); }} />
        <Hexadecimal label={say("data")} name="data" value={hex(data)} bits={32} onChange={(value) => { keep({ data: Number(value) }); }} />
        <Whole label={say("messages")} name="messages" value={settings.messages} least={1} most={MOST_MESSAGES} onChange={(messages) => { keep({ messages }); }} />
        {intel && <Tick label={say("compatibility")} name="compatibility" on={settings.compatibility} onChange={(compatibility) => { keep({ compatibility }); }} />}
        <Tick label={say("extended")} name="extended" on={settings.extended} onChange={(extended) => { rebuild({ extended }); }} />
        {!intel && <Tick label={say("wide")} name="wide" on={settings.wide} onChange={(wide) => { rebuild({ wide }); }} />}
        <Tick label={say("posted")} name="posted" on={settings.posted} onChange={(posted) => { rebuild({ posted }); }} />
        <Choice label={say("processor")} name="processor" value={String(settings.processor)} options={Array.from({ length: PROCESSORS }, (_, i) => [String(i), String(i)])} onChange={(chosen) => { rebuild({ processor: Number(chosen) }); }} />
        <Tick label={say("running")} name="running" on={settings.running} onChange={(running) => { rebuild({ running }); }} />
        {intel && settings.posted && <Tick label={say("suppressed")} name="suppressed" on={settings.suppressed} onChange={(suppressed) => { rebuild({ suppressed }); }} />}
      </form>
      <div class="row">
        <button type="button" onClick={() => { rebuild({ processor: (settings.processor + 1) % PROCESSORS }); }}>{say("migrate")}</button>
        {intel && <button type="button" onClick={() => { keep(remappable ? { address: 0xfee0_0000, data: 0x41 } : { address: 0xfee0_0030, data: 0 }); }}>{say(remappable ? "toCompatibility" : "toRemappable")}</button>}
        {Object.keys(edits).length > 0 && <button type="button" onClick={() => { keep({ edits: {} }); }}>{say("restore")}</button>}
      </div>
      <p role="status" class={lab.delivered.length + lab.notifications.length === 0 ? "fails" : "holds"}>{verdict(lab, say, language)}</p>
      <Path settings={settings} lab={lab} say={say} />
      <Table caption={say("exits", { count: settings.messages })} heads={[say("way"), say("count")]} rows={[[say("with"), exits[0]], [say("without"), exits[1]]]} current={new Set([settings.posted ? 0 : 1])} />
      <Table caption={say("steps")} heads={[say("structure"), say("rule"), say("outcome"), say("section")]} rows={lab.steps.map(({ structure, rule, outcome, section }) => [<Told key="structure" text={structure} language={language} />, <Told key="rule" text={rule} language={language} />, <Told key="outcome" text={outcome} language={language} />, section])} />
      {lab.notifications.length > 0 && <><h2>{say("notifications")}</h2><ul>{lab.notifications.map((notification, i) => <li key={i}>{notificationText(notification, i + 1, say)}</li>)}</ul></>}
      <h2>{say("message")}</h2>
      <h3>{say("address")}</h3>
      <BitEditor layout={remappable ? REMAPPABLE_ADDRESS : MESSAGE_ADDRESS} words={[address]} onWords={([word = 0]) => { keep({ address: word }); }} {...field} />
      <h3>{say("data")}</h3>
      <BitEditor layout={remappable ? REMAPPABLE_DATA : MESSAGE_DATA} words={[data]} onWords={([word = 0]) => { keep({ data: word }); }} {...field} />
      {editor(say("entry"), lab.entry)}
      {lab.descriptor && editor(say("descriptor"), lab.descriptor)}
    </article>
  );
};

const toText = ({ settings, language }: ViewProps<InterruptSettings>): string => {
  const say = interruptWords(language);
  const lab = runInterrupts(settings);
  return [verdict(lab, say, language), "", ...lab.steps.map(({ structure, rule, outcome, section }) => [...[structure, rule, outcome].map((text) => tell(text, language)), section].join("\t"))].join("\n");
};

/** A message by hand, on the remapping models of both vendors. */
export const VIEW = view<InterruptSettings>({ read: readInterrupts, Body, text: toText });
