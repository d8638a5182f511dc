import { KERNELS } from "@iommu-lab/iommu-intel/decode";
import type { VNode } from "preact";
import { formatAddress } from "../../state/address.ts";
import { Table } from "../../ui/table.tsx";
import type { ViewProps } from "../view.ts";
import { lineOf } from "./describe.ts";
import { traceLines, type TracedLine } from "./line.ts";
import { RecordPanel } from "./record-panel.tsx";
import type { FaultSettings } from "./settings.ts";
import { faultWords } from "./text.ts";

/** The request behind a line, on the bench of the walk. */
const walkOf = ({ vendor, requester, address, access, pasid }: TracedLine): object => ({ mode: vendor === "intel" ? "vtd-legacy-4" : "amd-host-4", ...(requester === undefined ? {} : { requester }), ...(address === undefined ? {} : { address: `0x${address.toString(16)}` }), access, ...(pasid === undefined ? {} : { pasid }) });

/** From a pasted line to its record, cause and remedy. */
export const LineBody = ({ settings, keep, language, state, store }: ViewProps<FaultSettings>): VNode => {
  const say = faultWords(language);
  const lines = traceLines(settings.line);
  const at = Math.min(settings.lineAt, lines.length - 1);
  const current = lines[at];
  return (
    <>
      <h2>{say("line")}</h2>
      <label class="paste"><span>{say("paste")}</span><textarea name="line" rows={4} maxLength={4000} spellcheck={false} value={settings.line} onInput={({ currentTarget }) => { keep({ line: currentTarget.value, lineAt: 0 }); }} /></label>
      <p role="status">{lines.length === 0 ? say("nothing") : say("found", { count: lines.length })}</p>
      {lines.length > 1 && <Table caption={say("found", { count: lines.length })} heads={[say("meaning")]} rows={lines.map(({ meaning }) => [meaning.join(" ")])} current={new Set([at])} onRow={(lineAt) => { keep({ lineAt }); }} />}
      {current && (
        <>
          <h2>{say("recordOf")}</h2>
          {current.access !== "interrupt" && <p><a href={formatAddress({ ...state, view: "walk", views: { ...state.views, walk: walkOf(current) } })}>{say("walk")}</a></p>}
          <RecordPanel vendor={current.vendor} words={current.words} kernel={settings.kernel} language={language} say={say} field={state.selection.field} onField={(field) => { store.select({ field }); }} />
          <Table caption={say("others")} heads={["Linux", say("kernelSays")]} rows={KERNELS.map((kernel) => [kernel, lineOf(current.vendor, current.words, kernel) ?? say("noLine")])} current={new Set([KERNELS.indexOf(settings.kernel)])} onRow={(i) => { const kernel = KERNELS[i]; if (kernel) keep({ kernel }); }} />
        </>
      )}
    </>
  );
};
