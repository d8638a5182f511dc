import { KERNELS } from "@iommu-lab/iommu-intel/decode";
import type { VNode } from "preact";
import { Choice } from "../../ui/controls.tsx";
import { tableText } from "../../ui/table.tsx";
import { view, type ViewProps } from "../view.ts";
import { lineOf } from "./describe.ts";
import { LineBody } from "./line-body.tsx";
import { traceLines } from "./line.ts";
import { RingBody, ringText } from "./ring-body.tsx";
import { faultsOf, RunBody } from "./run-body.tsx";
import { readFaults, type FaultSettings } from "./settings.ts";
import { faultWords } from "./text.ts";
import "./faults.css";

const BODIES = { ring: RingBody, line: LineBody, run: RunBody } as const;

const Body = (props: ViewProps<FaultSettings>): VNode => {
  const { settings, keep, language } = props;
  const say = faultWords(language);
  const Shown = BODIES[settings.tab];
  return (
    <article class="faults">
      <h1>{say("title")}</h1>
      <p>{say("about")}</p>
      <form class="row" onSubmit={(event) => { event.preventDefault(); }}>
        <Choice label={say("tab")} name="tab" value={settings.tab} options={[["ring", say("ring")], ["line", say("line")], ["run", say("run")]]} onChange={(tab) => { keep({ tab }); }} />
        {settings.tab === "ring" && <Choice label={say("vendor")} name="vendor" value={settings.vendor} options={[["intel", "Intel VT-d"], ["amd", "AMD-Vi"]]} onChange={(vendor) => { keep({ vendor, at: 0 }); }} />}
        {settings.tab !== "run" && <Choice label={say("kernel")} name="kernel" value={settings.kernel} options={KERNELS.map((kernel) => [kernel, kernel])} onChange={(kernel) => { keep({ kernel }); }} />}
      </form>
      <Shown {...props} />
    </article>
  );
};

const toText = ({ settings, run }: ViewProps<FaultSettings>): string => {
  if (settings.tab === "ring") return ringText(settings);
  if (settings.tab === "line") return traceLines(settings.line).map(({ vendor, words, meaning }) => [...meaning, lineOf(vendor, words, settings.kernel) ?? ""].join("\n")).join("\n\n");
  return run ? tableText(["event", "requester", "address", "code", "text"], faultsOf(run).map(({ step, fault }) => [step, fault.requester, fault.address, fault.code, fault.text])) : "";
};

/** Fault records, the event log, and the kernel's lines about them. */
export const VIEW = view<FaultSettings>({ read: readFaults, Body, text: toText });
