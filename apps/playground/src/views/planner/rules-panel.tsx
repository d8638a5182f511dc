import type { VNode } from "preact";
import type { Diagnosis, RuleResult } from "@iommu-lab/host/doctor";
import { Told } from "../../text/told.tsx";
import type { Language } from "../../text/words.ts";
import { EXIT, rulesOf, sortRules } from "./plan.ts";
import { plannerWords } from "./text.ts";

const Rule = ({ rule, selected, language, onDevice }: { readonly rule: RuleResult; readonly selected: string | undefined; readonly language: Language; readonly onDevice: (device: string) => void }): VNode => {
  const say = plannerWords(language);
  const { device } = rule;
  return (
    <li class={`rule ${rule.status} ${rule.severity}${device !== undefined && device === selected ? " lit" : ""}`}>
      <p><strong>{say(rule.status)}</strong> <span class="severity">{rule.status === "pass" ? "" : say(rule.severity)}</span> <code>{rule.id}</code> <Told text={rule.title} language={language} /> {device === undefined ? <span>({say("machine")})</span> : <button type="button" class="chip" onClick={() => { onDevice(device); }}>{device}</button>}</p>
      {rule.evidence.length > 0 && <dl>{rule.evidence.map(({ source, line, text }, i) => [<dt key={i}><Told text={source} language={language} />{line === undefined ? "" : `:${line}`}</dt>, <dd key={`${i}=`}><code class="evidence">{line === undefined ? <Told text={text} language={language} /> : <span lang="en">{text}</span>}</code></dd>])}</dl>}
      {rule.advice !== "" && <p class="advice"><Told text={rule.advice} language={language} /></p>}
    </li>
  );
};

/** The doctor's answers, worst first; what is well is folded away. */
export const RulesPanel = ({ diagnosis, selected, language, onDevice }: { readonly diagnosis: Diagnosis; readonly selected: string | undefined; readonly language: Language; readonly onDevice: (device: string) => void }): VNode => {
  const say = plannerWords(language);
  const rules = sortRules(rulesOf(diagnosis));
  const of = (status: RuleResult["status"]): RuleResult[] => rules.filter((rule) => rule.status === status);
  const [failed, unknown, passed] = [of("fail"), of("unknown"), of("pass")];
  const item = (rule: RuleResult): VNode => <Rule key={`${rule.id} ${rule.device ?? ""}`} rule={rule} selected={selected} language={language} onDevice={onDevice} />;
  return (
    <section aria-labelledby="checks">
      <h2 id="checks">{say("checks")}</h2>
      <p role="status" class={`verdict ${diagnosis.verdict}`}>{say("verdict")}: <strong>{say(diagnosis.verdict)}</strong> ({say("exit", { code: EXIT[diagnosis.verdict] })})</p>
      <p>{say("byBlockers", { count: failed.filter(({ severity }) => severity === "block").length })}. {say("counts", { fail: failed.length, unknown: unknown.length, pass: passed.length })}</p>
      <ul class="rules">{failed.map(item)}</ul>
      <details open={failed.length === 0}><summary>{say("unseen", { count: unknown.length })}</summary><ul class="rules">{unknown.map(item)}</ul></details>
      <details><summary>{say("passed", { count: passed.length })}</summary><ul class="rules">{passed.map(item)}</ul></details>
      {diagnosis.log.length > 0 && (
        <>
          <h3>{say("log")}</h3>
          <ul class="rules">{diagnosis.log.map((event, i) => <li key={i} class="rule"><p><code class="evidence" lang="en">{event.text}</code> {event.times > 1 && `(${say("times", { count: event.times })})`}</p><p><Told text={event.happened} language={language} /> <Told text={event.why} language={language} /></p><p class="advice"><Told text={event.advice} language={language} /></p></li>)}</ul>
        </>
      )}
    </section>
  );
};
