import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import type { HostSnapshot } from "@iommu-lab/host";
import { DISTROS, GUEST_IOMMUS, GUESTS, parseLibvirtVersion, TARGETS, type PlanFinding, type PlanResult } from "@iommu-lab/host/plan";
import { formatAddress } from "@iommu-lab/pci-bus";
import { Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { Choice, Tick, Whole } from "../../ui/controls.tsx";
import { saveFile } from "../../ui/save.ts";
import { diffLines } from "./diff-lines.ts";
import { commandOf, otherText, planExit, type Planned } from "./plan.ts";
import type { PlannerSettings } from "./settings.ts";
import { plannerWords } from "./text.ts";
import { zipPlan } from "./zip.ts";

interface Shared {
  readonly snapshot: HostSnapshot;
  readonly settings: PlannerSettings;
  readonly keep: (patch: Partial<PlannerSettings>) => void;
  readonly language: Language;
}

const plain = <T extends string>(words: readonly T[]): (readonly [T, string])[] => words.map((word) => [word, word]);

const Options = ({ settings, keep, language }: Shared): VNode => {
  const say = plannerWords(language);
  return (
    <div class="row">
      <Choice label={say("distro")} name="distro" value={settings.distro} options={plain(DISTROS)} onChange={(distro) => { keep({ distro }); }} />
      <Choice label={say("target")} name="target" value={settings.target} options={plain(TARGETS)} onChange={(target) => { keep({ target }); }} />
      <Choice label={say("guest")} name="guest" value={settings.guest} options={plain(GUESTS)} onChange={(guest) => { keep({ guest }); }} />
      <Choice label={say("guestIommu")} name="guest-iommu" value={settings.guestIommu} options={plain(GUEST_IOMMUS)} onChange={(guestIommu) => { keep({ guestIommu }); }} />
      {settings.target === "libvirt" && <label><span>{say("libvirt")}</span><input type="text" name="libvirt" size={6} value={settings.libvirt} onChange={({ currentTarget }) => { if (parseLibvirtVersion(currentTarget.value)) keep({ libvirt: currentTarget.value }); else currentTarget.value = settings.libvirt; }} /></label>}
      <Whole label={say("memory")} name="memory" value={settings.memory} least={0} most={16 * 1024 * 1024} onChange={(memory) => { keep({ memory: memory < 64 ? 0 : memory }); }} />
      <Tick label={say("hugepages")} name="hugepages" on={settings.hugepages} onChange={(hugepages) => { keep({ hugepages }); }} />
    </div>
  );
};

const Findings = ({ findings, language }: { readonly findings: readonly PlanFinding[]; readonly language: Language }): VNode => <ul>{findings.map(({ rule, device, text }, i) => <li key={i}><code>{rule}{device === undefined ? "" : ` ${device}`}</code>: <Told text={text} language={language} /></li>)}</ul>;

const Files = ({ plan, snapshot, settings, keep, language }: Shared & { readonly plan: PlanResult }): VNode => {
  const say = plannerWords(language);
  const said = useSignal("");
  const file = plan.files.find(({ path }) => path === settings.file) ?? plan.files[0]!;
  const other = otherText(snapshot, settings, plan, file.path);
  const isDiff = settings.against !== "file";
  const lines = isDiff ? diffLines(other ?? "", file.text) : [];
  return (
    <>
      <div class="row">
        <Choice label={say("file")} name="file" value={file.path} options={plain(plan.files.map(({ path }) => path))} onChange={(path) => { keep({ file: path }); }} />
        <Choice label={say("shows")} name="against" value={settings.against} options={[["file", say("whole")], ["host", say("againstHost")], ...DISTROS.filter((each) => each !== settings.distro).map((each) => [each, say("againstDistro", { distro: each })] as const)]} onChange={(against) => { keep({ against }); }} />
      </div>
      <div class="row">
        <button type="button" name="copy-file" onClick={() => { void navigator.clipboard.writeText(file.text).then(() => { said.value = say("copied"); }, () => { said.value = say("notCopied"); }); }}>{say("copy")}</button>
        <button type="button" name="save-file" onClick={() => { saveFile(file.path.split("/").at(-1) ?? "file", file.text); }}>{say("save")}</button>
        <button type="button" name="save-zip" onClick={() => { saveFile(`plan-${settings.distro}-${settings.target}.zip`, new Blob([zipPlan(plan.files).slice()], { type: "application/zip" })); }}>{say("zip")}</button>
        <span role="status">{said.value}</span>
      </div>
      {isDiff && other === undefined && <p class="hint">{say("isNew")}</p>}
      {isDiff && other === file.text ? <p>{say("equal")}</p> : <pre class="file-text" tabIndex={0} aria-label={file.path}>{isDiff ? lines.map(({ sign, text }, i) => <span key={i} class={sign === "+" ? "added" : sign === "-" ? "taken" : undefined}>{`${sign} ${text}\n`}</span>) : file.text}</pre>}
    </>
  );
};

const Result = ({ planned, ...shared }: Shared & { readonly planned: Planned }): VNode => {
  const { settings, keep, language } = shared;
  const say = plannerWords(language);
  switch (planned.kind) {
    case "unknown-function": return <p role="status">{say("gone")} <code>{formatAddress(planned.address)}</code></p>;
    case "refusal": return <div role="status"><p class="bad">{say("refusal")}</p><Findings findings={planned.blockers} language={language} /></div>;
    case "not-enough-data": return (
      <div role="status">
        <p>{say("missing")}</p>
        <ul>{planned.missing.map(({ key, text }, i) => <li key={i}><Told text={text} language={language} /> {key !== undefined && <button type="button" name="assume" onClick={() => { keep({ assume: [...settings.assume, key] }); }}>{say("assume", { key })}</button>}</li>)}</ul>
      </div>
    );
    case "plan": return (
      <>
        <p role="status">{say("gets", { functions: planned.functions.map(formatAddress).join(", ") })}</p>
        {planned.host.length + planned.cautions.length > 0 && <details><summary>{say("lookOut")} ({planned.host.length + planned.cautions.length})</summary><Findings findings={[...planned.host, ...planned.cautions]} language={language} /></details>}
        <Files {...shared} plan={planned} />
      </>
    );
  }
};

/** The plan's files, or why there are none. */
export const PlanPanel = ({ planned, ...shared }: Shared & { readonly planned: Planned | undefined }): VNode => {
  const { settings, keep, language } = shared;
  const say = plannerWords(language);
  return (
    <section aria-labelledby="plan">
      <h2 id="plan">{say("plan")}</h2>
      <Options {...shared} />
      {settings.assume.length > 0 && <div class="row">{settings.assume.map((key) => <Tick key={key} label={say("assume", { key })} name="assumed" value={key} on onChange={() => { keep({ assume: settings.assume.filter((each) => each !== key) }); }} />)}</div>}
      {planned ? <Result {...shared} planned={planned} /> : <p role="status">{say("choose")}</p>}
      {planned && <p class="hint">{say("exit", { code: planExit(planned) })}</p>}
      {planned && <details><summary>{say("command")}</summary><pre><code>{commandOf(settings)}</code></pre></details>}
    </section>
  );
};
