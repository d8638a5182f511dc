import type { RunEvent } from "@iommu-lab/hypervisor/scenarios";
import type { VNode } from "preact";
import type { PlayedRun } from "../../run/play.ts";
import { stepOf } from "../../run/steps.ts";
import { Told } from "../../text/told.tsx";
import { Table } from "../../ui/table.tsx";
import type { ViewProps } from "../view.ts";
import type { FaultSettings } from "./settings.ts";
import { faultWords } from "./text.ts";

/** So many faults are listed on either side of the current event. */
const MOST_LISTED = 30;

type FaultEvent = Extract<RunEvent, { readonly kind: "fault" }>;

/** Faults of a run with the number of their event. */
export const faultsOf = (run: PlayedRun): readonly { readonly step: number; readonly fault: FaultEvent }[] => run.events.flatMap((event, i) => (event.kind === "fault" ? [{ step: i + 1, fault: event }] : []));

/** What the run's IOMMUs recorded so far. */
export const RunBody = ({ language, state, store, run }: ViewProps<FaultSettings>): VNode | null => {
  const say = faultWords(language);
  if (!run) return null;
  const at = stepOf(state.step, run);
  const all = faultsOf(run);
  const before = all.filter(({ step }) => step <= at).slice(-MOST_LISTED);
  const after = all.filter(({ step }) => step > at).slice(0, MOST_LISTED);
  const table = (caption: string, faults: typeof all): VNode => (
    <Table
      caption={caption}
      heads={[say("event"), say("requester"), say("address"), say("code"), say("meaning")]}
      rows={faults.map(({ step, fault }) => [say("event") + ` ${step}`, <code key="requester">{fault.requester}</code>, <code key="address">{fault.address}</code>, <code key="code">{fault.code}</code>, <Told key="text" text={fault.text} language={language} />])}
      current={new Set(faults.flatMap(({ step, fault }, i) => (step === at || fault.requester === state.selection.device || fault.address === state.selection.address ? [i] : [])))}
      onRow={(i) => {
        const chosen = faults[i];
        if (!chosen) return;
        store.change({ step: chosen.step });
        store.select({ device: chosen.fault.requester, address: chosen.fault.address });
      }}
    />
  );
  return (
    <>
      <h2>{say("faultsSoFar", { step: at })}</h2>
      <p>{say("faultsAll", { count: all.length })}</p>
      {before.length === 0 ? <p>{say("noneYet")}</p> : table(say("faultsSoFar", { step: at }), before)}
      {after.length > 0 && table(say("later"), after)}
    </>
  );
};
