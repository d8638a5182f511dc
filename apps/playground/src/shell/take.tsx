import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { exportRun, importRun } from "../run/run-file.ts";
import type { Runs } from "../run/runs.ts";
import { formatAddress } from "../state/address.ts";
import { FIRST } from "../state/app-state.ts";
import { exportState, importState } from "../state/state-file.ts";
import { LONGEST_ADDRESS, type Store } from "../state/store.ts";
import { pictureOf, pictureOfText, pngOf, saveFile, type Picture } from "../ui/save.ts";
import { REGISTRY } from "../views/registry.ts";
import { shellWords } from "./text.ts";

/** Buttons that take what is shown along: as text, as a graph's text, as a drawing, as an address, as a run's file. */
export const Take = ({ store, runs, text, mermaid }: { readonly store: Store; readonly runs: Runs; readonly text: () => string; readonly mermaid: (() => string) | undefined }): VNode => {
  const say = shellWords(store.language.value);
  const said = useSignal("");
  const fallback = useSignal<string | undefined>(undefined);
  const copy = (content: string): void => {
    void navigator.clipboard.writeText(content).then(() => { said.value = say("copied"); fallback.value = undefined; }, () => { said.value = say("copyFailed"); fallback.value = content; });
  };
  const copyAddress = (): void => {
    const address = formatAddress(store.state.value);
    if (address.length > LONGEST_ADDRESS) said.value = say("tooLarge", { size: Math.ceil(address.length / 1000) });
    else copy(`${location.href.split("#")[0] ?? ""}${address}`);
  };
  const open = async (name: string, content: string): Promise<void> => {
    const state = importState(content);
    said.value = "";
    if (state) {
      store.change(state, true);
      return;
    }
    try {
      runs.adopt(await importRun(content));
      if (!REGISTRY[store.state.value.view]?.run) store.change({ view: FIRST.view }, true);
    } catch (error) {
      said.value = say("badRun", { file: name, error: error instanceof Error ? error.message : String(error) });
    }
  };
  const picture = (): Picture => {
    const drawing = document.querySelector<SVGSVGElement>("#view svg.drawing");
    return drawing ? pictureOf(drawing) : pictureOfText(text());
  };
  const { view } = store.state.value;
  const run = runs.current.value.kind === "played" ? runs.current.value.run : undefined;
  return (
    <div class="take">
      <button type="button" onClick={() => { copy(text()); }}>{say("copy")}</button>
      {mermaid && <button type="button" onClick={() => { copy(mermaid()); }}>{say("mermaid")}</button>}
      <button type="button" onClick={copyAddress}>{say("link")}</button>
      <button type="button" onClick={() => { saveFile(`${view}.svg`, picture().svg, "image/svg+xml"); }}>{say("saveSvg")}</button>
      <button type="button" onClick={() => { void pngOf(picture()).then((blob) => { saveFile(`${view}.png`, blob); }, (error: unknown) => { said.value = error instanceof Error ? error.message : String(error); }); }}>{say("savePng")}</button>
      {REGISTRY[view]?.run && run && <button type="button" onClick={() => { saveFile(`${run.choice.scenario}.jsonl`, exportRun(run), "application/jsonl"); }}>{say("saveRun")}</button>}
      <button type="button" onClick={() => { saveFile("iommu-lab-page.json", exportState(store.state.value), "application/json"); }}>{say("savePage")}</button>
      <label class="file"><span>{say("openRun")}</span>
        <input type="file" accept=".jsonl,.json,.txt" onChange={({ currentTarget }) => {
          const [file] = currentTarget.files ?? [];
          currentTarget.value = "";
          if (file) void file.text().then(async (content) => open(file.name, content));
        }} />
      </label>
      <span role="status">{store.lost.value ? say("lost") : said.value}</span>
      {fallback.value !== undefined && <textarea readOnly rows={6} value={fallback.value} aria-label={say("copy")} />}
    </div>
  );
};
