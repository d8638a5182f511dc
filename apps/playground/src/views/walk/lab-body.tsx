import { FAULT_REASONS } from "@iommu-lab/iommu-intel/layouts";
import { kernelLine as amdLine } from "@iommu-lab/iommu-amd/decode";
import { kernelFaultOf, kernelLine as vtdLine } from "@iommu-lab/iommu-intel/decode";
import { Access } from "@iommu-lab/pci-bus";
import type { VNode } from "preact";
import { formatAddress } from "../../state/address.ts";
import { tell } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Minimap } from "../entries/minimap.tsx";
import { hex } from "../entries/edits.ts";
import { entryWords } from "../entries/text.ts";
import type { ViewProps } from "../view.ts";
import { splitRequest, type Part } from "./address-split.ts";
import { beyondWidth, breakEntry } from "./breaks.ts";
import { WalkControls } from "./controls.tsx";
import { EntryPanel } from "./entry-panel.tsx";
import { runWalk, type WalkRun } from "./lab.ts";
import { Ruler } from "./ruler.tsx";
import type { WalkSettings } from "./settings.ts";
import { NestedGrid, StepTable } from "./step-table.tsx";
import { nestedRows, type WalkStep } from "./steps.ts";
import { walkWords, type WalkSay } from "./text.ts";

const SIZES: Readonly<Record<number, string>> = { 12: "4 KiB", 21: "2 MiB", 30: "1 GiB" };
const EVENT_NAMES: Readonly<Record<number, string>> = { 1: "ILLEGAL_DEV_TABLE_ENTRY", 2: "IO_PAGE_FAULT", 3: "DEV_TAB_HARDWARE_ERROR", 4: "PAGE_TAB_HARDWARE_ERROR", 8: "INVALID_DEVICE_REQUEST" };

const rightsText = (rights: Access): string => ([[Access.Read, "R"], [Access.Write, "W"], [Access.Execute, "X"]] as const).map(([right, letter]) => ((rights & right) === 0 ? "–" : letter)).join("");

const faultText = ({ mode, translation, steps }: WalkRun, language: Language): string => {
  if (mode.vendor === "intel") return `${hex(translation.fault)}, ${tell(FAULT_REASONS[translation.fault]?.text ?? "?", language)}`;
  const last = steps.at(-1);
  return last?.stops ? tell(last.step.outcome, language) : (EVENT_NAMES[translation.fault] ?? hex(translation.fault));
};

/** What came of a request, as a sentence. */
const verdict = (run: WalkRun, say: WalkSay, language: Language): string => {
  const { host, translation } = run;
  if (host !== undefined) return say("translated", { host: hex(host), size: SIZES[translation.pageShift] ?? `2^${translation.pageShift}`, rights: rightsText(translation.permissions) });
  return translation.fault === 0 ? say("refused") : say("stopped", { fault: faultText(run, language) });
};

/** The kernel's line about the fault, for the view of faults. */
const lineOf = ({ mode, record }: WalkRun): string | undefined => record && (mode.vendor === "intel" ? vtdLine(kernelFaultOf(record), "6.12") : amdLine(record, "6.12"));

const usesPart = ({ kind, step }: WalkStep, part: Part): boolean => {
  const { structure } = step;
  switch (part.kind) {
    case "bus": return structure.endsWith("root entry");
    case "function": return structure.endsWith("context entry");
    case "device": return structure === "device table entry";
    case "directory": return structure === "PASID directory entry";
    case "pasidRow": return structure === "PASID table entry";
    case "level": return kind?.level === part.level;
    case "offset": return step.outcome === "page";
    default: return false;
  }
};

/** A request of one's own on a machine of one's own. */
export const LabBody = ({ settings, keep, language, state, store }: ViewProps<WalkSettings>): VNode => {
  const say = walkWords(language);
  const run = runWalk(settings);
  const { steps } = run;
  const at = Math.min(settings.at, steps.length - 1);
  const current = steps[at];
  const nested = nestedRows(steps).length > 0;
  const toStep = (chosen: number): void => {
    keep({ at: chosen });
    const address = steps[chosen]?.step.address;
    if (address !== undefined) store.select({ address: hex(address) });
  };
  const breakNow = (how: "present" | "reserved"): void => {
    const edits = current && breakEntry(settings.edits, current, how);
    if (edits) keep({ edits });
  };
  const line = lineOf(run);
  // In a nested walk the host's levels look at guest addresses, which are not drawn.
  const lit = (part: Part): boolean => current !== undefined && !(nested && current.kind?.track === "outer") && usesPart(current, part);
  const bits = entryWords(language);
  return (
    <>
      <h2>{say("request")}</h2>
      <WalkControls settings={settings} keep={keep} language={language} say={say} />
      <div class={`verdict ${run.host === undefined ? "fails" : "holds"}`} role="status">
        <p>{verdict(run, say, language)} {say("reads", { count: run.reads })}.</p>
        {line !== undefined && <p><a href={formatAddress({ ...state, view: "faults", views: { ...state.views, faults: { tab: "line", vendor: run.mode.vendor, line } } })}>{say("toFaults")}</a></p>}
      </div>
      <Ruler splits={splitRequest(settings)} lit={lit} say={say} />
      <h2>{say("steps")}</h2>
      <div class="row transport">
        <button type="button" aria-label={say("back")} disabled={at <= 0} onClick={() => { toStep(at - 1); }}>◀</button>
        <button type="button" aria-label={say("forward")} disabled={at >= steps.length - 1} onClick={() => { toStep(at + 1); }}>▶</button>
        <output>{say("step", { at: at + 1, of: steps.length })}</output>
        <span role="group" aria-label={say("break")} class="row">
          <button type="button" disabled={!current?.kind} onClick={() => { breakNow("present"); }}>{say("breakPresent")}</button>
          <button type="button" disabled={!current?.kind} onClick={() => { breakNow("reserved"); }}>{say("breakReserved")}</button>
          <button type="button" onClick={() => { keep({ address: beyondWidth(settings), at: 0 }); }}>{say("breakWidth")}</button>
        </span>
      </div>
      <div class="walk-body">
        <div class="steps">
          <NestedGrid steps={steps} at={at} onStep={toStep} say={say} language={language} selected={state.selection.address} />
          <StepTable steps={steps} at={at} onStep={toStep} say={say} language={language} selected={state.selection.address} />
          {!nested && (
            <>
              <h3>{say("maps")}</h3>
              <ul class="maps">
                {steps.flatMap((step, i) => {
                  const map = run.map(step);
                  return map ? [<li key={i}><button type="button" class={i === at ? "lit" : undefined} aria-current={i === at ? "step" : undefined} onClick={() => { toStep(i); }}>{i + 1}. {tell(step.step.structure, language)}<Minimap map={map} language={language} />{bits("mapShort", { row: map.row, count: map.rows })}</button></li>] : [];
                })}
              </ul>
            </>
          )}
        </div>
        {current && <EntryPanel current={current} map={run.map(current)} language={language} say={say} field={state.selection.field} onField={(field) => { store.select({ field }); }} edits={settings.edits} onEdits={(edits) => { keep({ edits }); }} />}
      </div>
    </>
  );
};

/** The same as text. */
export const labText = ({ settings, language }: Pick<ViewProps<WalkSettings>, "settings" | "language">): string => {
  const say = walkWords(language);
  const run = runWalk(settings);
  const lines = run.steps.map(({ step, soFar }, i) => [i + 1, tell(step.structure, language), step.address === undefined ? "" : hex(step.address), soFar ?? "", tell(step.outcome, language), step.section].join("\t"));
  return [`${settings.mode} ${settings.size} ${settings.access} ${settings.address}`, verdict(run, say, language), say("reads", { count: run.reads }), "", ...lines, ...(lineOf(run) === undefined ? [] : ["", lineOf(run)])].join("\n");
};
