import { formatAddress } from "@iommu-lab/pci-bus";
import type { PeerPath } from "@iommu-lab/pci-bus/groups";
import type { VNode } from "preact";
import { tell, Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Choice } from "../../ui/controls.tsx";
import { topologyWords } from "./text.ts";
import type { TopologyNode } from "./topology.ts";

/** How the write ends, in a sentence; `unit` is the IOMMU before the sender, in words. */
const endText = (path: PeerPath, to: string, unit: string, language: Language): string => {
  const say = topologyWords(language);
  switch (path.end) {
    case "peer": return say("endPeer", { to });
    case "root": return say("endRoot", { unit });
    case "blocked": return say("endBlocked", { at: formatAddress(path.hops.at(-1)?.at ?? { domain: 0, requester: 0 }) });
    case "unknown": return say("endUnknown");
  }
};

/** The same as lines of text. */
export const peerText = (path: PeerPath, to: string, unit: string, language: Language): string[] => {
  const say = topologyWords(language);
  return [
    endText(path, to, unit, language),
    ...path.hops.map(({ at, decision, rule }) => `  ${formatAddress(at)}: ${say(decision)} (${tell(rule, language)})`),
    ...path.down.map((at) => `  ${formatAddress(at)}: ${say("down")}`),
  ];
};

/** Where a write to another function's memory goes: past the IOMMU or through it, and which register decides. */
export const PeerPanel = ({ selected, others, to, path, unit, isTranslated, language, onPeer }: { readonly selected: string | undefined; readonly others: readonly TopologyNode[]; readonly to: string; readonly path: PeerPath | undefined; readonly unit: string; readonly isTranslated: boolean; readonly language: Language; readonly onPeer: (name: string) => void }): VNode => {
  const say = topologyWords(language);
  return (
    <section aria-labelledby="peer">
      <h2 id="peer">{say("peer")}</h2>
      {selected === undefined
        ? <p class="hint">{say("choosePeer")}</p>
        : <Choice label={say("peerTo", { name: selected })} name="peer" value={path ? to : ""} options={[["", say("nobody")], ...others.map(({ name }) => [name, name] as const)]} onChange={onPeer} />}
      {path && (
        <>
          <p role="status" class={path.end === "peer" ? "fails" : path.end === "root" && isTranslated ? "holds" : "warning"}>{endText(path, to, unit, language)}</p>
          <ol>
            {path.hops.map(({ at, decision, rule }, i) => <li key={i}><span class="mono">{formatAddress(at)}</span>: {say(decision)} <small>(<Told text={rule} language={language} />)</small></li>)}
            {path.down.map((at) => <li key={formatAddress(at)}><span class="mono">{formatAddress(at)}</span>: {say("down")}</li>)}
          </ol>
        </>
      )}
    </section>
  );
};
