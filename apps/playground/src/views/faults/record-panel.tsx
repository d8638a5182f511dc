import type { Kernel } from "@iommu-lab/iommu-intel/decode";
import type { VNode } from "preact";
import { Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { BitEditor } from "../entries/bit-editor.tsx";
import { causeOf, layoutOf, lineOf, meaningOf } from "./describe.ts";
import { causeWords, type FaultSay } from "./text.ts";

/** A record: what it says, what lies behind it, its line, its bits. */
export const RecordPanel = ({ vendor, words, kernel, language, say, field, onField }: { readonly vendor: "intel" | "amd"; readonly words: readonly number[]; readonly kernel: Kernel; readonly language: Language; readonly say: FaultSay; readonly field: string | undefined; readonly onField: (field: string) => void }): VNode => {
  const layout = layoutOf(vendor, words);
  const cause = causeOf(vendor, words);
  const told = causeWords(language);
  const line = lineOf(vendor, words, kernel);
  return (
    <section aria-label={say("recordOf")}>
      {meaningOf(vendor, words).map((sentence) => <p key={sentence}><Told text={sentence} language={language} /></p>)}
      <dl>
        <dt>{say("cause")}</dt><dd>{told(cause)}</dd>
        <dt>{say("fix")}</dt><dd>{told(`${cause}Fix`)}</dd>
      </dl>
      <h3>{say("kernelSays")} (Linux {kernel})</h3>
      {line === undefined ? <p>{say("noLine")}</p> : <pre class="log" lang="en">{line}</pre>}
      {layout && <><h3><Told text={layout.name} language={language} /> <span lang="en">({layout.spec})</span></h3><BitEditor layout={layout} words={words} onWords={undefined} language={language} selected={field} onField={onField} /></>}
    </section>
  );
};
