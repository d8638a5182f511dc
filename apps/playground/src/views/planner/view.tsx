import { useMemo } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import type { HostSnapshot } from "@iommu-lab/host";
import { formatAddress } from "@iommu-lab/pci-bus";
import { functionName } from "../../host/function-name.ts";
import { HostPicker } from "../../host/host-picker.tsx";
import type { OpenedHost } from "../../host/open-host.ts";
import { hostNow, useHost } from "../../host/use-host.ts";
import { tell } from "../../text/told.tsx";
import { Tick } from "../../ui/controls.tsx";
import { view, type ViewProps } from "../view.ts";
import { commandOf, diagnoseFor, planExit, planFor, rulesOf, sortRules } from "./plan.ts";
import { PlanPanel } from "./plan-panel.tsx";
import "./planner.css";
import { RulesPanel } from "./rules-panel.tsx";
import { readPlanner, type PlannerSettings } from "./settings.ts";
import { plannerWords } from "./text.ts";

type Props = ViewProps<PlannerSettings>;
const BRIDGE = 0x06;

const Devices = ({ snapshot, settings, keep, state, language }: Props & { readonly snapshot: HostSnapshot }): VNode => {
  const say = plannerWords(language);
  const all = useSignal(false);
  const shown = snapshot.functions.filter((f) => all.value || (f.classCode ?? 0) >>> 16 !== BRIDGE || settings.devices.includes(formatAddress(f.address)));
  const toggle = (name: string, on: boolean): void => { keep({ devices: on ? [...settings.devices, name] : settings.devices.filter((each) => each !== name) }); };
  return (
    <fieldset class="devices">
      <legend>{say("devices")}</legend>
      {snapshot.functions.length === 0 && <p>{say("noDevices")}</p>}
      <ul>{shown.map((f) => {
        const name = formatAddress(f.address);
        return <li key={name} class={state.selection.device === name ? "lit" : undefined}><Tick label={`${name} ${functionName(f, language)}${f.driver === undefined ? "" : ` – ${f.driver}`}`} name="device" value={name} on={settings.devices.includes(name)} onChange={(on) => { toggle(name, on); }} /></li>;
      })}</ul>
      <Tick label={say("all")} name="all" on={all.value} onChange={(on) => { all.value = on; }} />
    </fieldset>
  );
};

const Shown = ({ host, ...props }: Props & { readonly host: OpenedHost }): VNode => {
  const { settings, keep, state, store, language } = props;
  const { snapshot, guests } = host;
  const diagnosis = useMemo(() => diagnoseFor(snapshot, guests, settings.devices), [host, settings.devices.join()]);
  const planned = useMemo(() => planFor(snapshot, settings), [snapshot, JSON.stringify(settings)]);
  return (
    <>
      <RulesPanel diagnosis={diagnosis} selected={state.selection.device} language={language} onDevice={(device) => { store.select({ device }); }} />
      <PlanPanel snapshot={snapshot} settings={settings} keep={keep} language={language} planned={planned} />
    </>
  );
};

const Body = (props: Props): VNode => {
  const { settings, store, language } = props;
  const host = useHost(settings.host);
  const say = plannerWords(language);
  return (
    <article>
      <h1>{say("title")}</h1>
      <p>{say("about")}</p>
      <div class="planner">
        <div>
          <HostPicker store={store} choice={settings.host} host={host} language={language} reset={{ edits: [], devices: [] }} />
          {host && <Devices {...props} snapshot={host.snapshot} />}
        </div>
        {host && <Shown {...props} host={host} />}
      </div>
    </article>
  );
};

const text = ({ settings, language }: Props): string => {
  const say = plannerWords(language);
  const host = hostNow(settings.host);
  if (!host) return "";
  const diagnosis = diagnoseFor(host.snapshot, host.guests, settings.devices);
  const planned = planFor(host.snapshot, settings);
  return [
    `${say("verdict")}: ${say(diagnosis.verdict)}`,
    ...sortRules(rulesOf(diagnosis)).filter(({ status }) => status !== "pass").map(({ id, status, severity, title, device, evidence, advice }) => [`${say(status)} ${say(severity)} ${id} ${device ?? ""} ${tell(title, language)}`, ...evidence.map(({ source, line, text: seen }) => `    ${tell(source, language)}: ${line === undefined ? tell(seen, language) : seen}`), ...(advice === "" ? [] : [`    ${tell(advice, language)}`])].join("\n")),
    ...(planned ? ["", `$ ${commandOf(settings)}`, say("exit", { code: planExit(planned) })] : []),
    ...(planned?.kind === "plan" ? planned.files.map(({ path, text: content }) => `\n==> ${path} <==\n${content}`) : planned?.kind === "refusal" ? planned.blockers.map(({ rule, text: why }) => `${rule}: ${tell(why, language)}`) : planned?.kind === "not-enough-data" ? planned.missing.map(({ text: what }) => tell(what, language)) : []),
  ].join("\n");
};

/** What stands in the way of assigning functions, and the files that do it. */
export const VIEW = view<PlannerSettings>({ read: readPlanner, Body, text });
