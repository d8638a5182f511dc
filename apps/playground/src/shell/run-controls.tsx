import type { VNode } from "preact";
import { Choice, Tick, Whole } from "../ui/controls.tsx";
import type { PlayedRun } from "../run/play.ts";
import type { RunChoice } from "../state/app-state.ts";
import type { Store } from "../state/store.ts";
import { scenarioTitle, SCENARIO_TITLES } from "../text/scenario-titles.ts";
import { shellWords } from "./text.ts";

/** Which scenario, on which IOMMU, with which seed, without which protections. Every change is another address. */
export const RunControls = ({ store, run }: { readonly store: Store; readonly run: PlayedRun | undefined }): VNode => {
  const language = store.language.value;
  const say = shellWords(language);
  const choice = store.state.value.run;
  const go = (patch: Partial<RunChoice>): void => { store.change({ run: { ...choice, ...patch }, step: 0, selection: {} }, true); };
  return (
    <form class="run-controls" aria-label={say("run")} onSubmit={(event) => { event.preventDefault(); }}>
      <Choice label={say("scenario")} name="scenario" value={choice.scenario} options={Object.keys(SCENARIO_TITLES).map((name) => [name, scenarioTitle(name, language)])} onChange={(scenario) => { go({ scenario, without: [] }); }} />
      <Choice label={say("iommu")} name="iommu" value={choice.iommu} options={[["intel", "Intel VT-d"], ["amd", "AMD-Vi"]]} onChange={(iommu) => { go({ iommu }); }} />
      <Whole label={say("seed")} name="seed" value={choice.seed} least={0} most={2 ** 32 - 1} onChange={(seed) => { go({ seed }); }} />
      {run?.choice.scenario === choice.scenario && run.protections.length > 0 && (
        <fieldset>
          <legend>{say("protections")}</legend>
          {run.protections.map((name) => <Tick key={name} label={name} name="without" value={name} on={!choice.without.includes(name)} onChange={(on) => { go({ without: on ? choice.without.filter((each) => each !== name) : [...choice.without, name] }); }} />)}
        </fieldset>
      )}
    </form>
  );
};
