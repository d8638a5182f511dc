import type { VNode } from "preact";
import { Choice, Tick } from "../../ui/controls.tsx";
import { Table, tableText } from "../../ui/table.tsx";
import { hex, wordsText } from "../entries/edits.ts";
import { view, type ViewProps } from "../view.ts";
import { CacheTables } from "./cache-tables.tsx";
import { isStale, runCaches } from "./lab.ts";
import { outcomeSentence } from "./outcome-words.ts";
import { QueueStrip } from "./queue-strip.tsx";
import { MOST_DONE, PAGES, readCaches, type CacheSettings, type Operation } from "./settings.ts";
import { cacheWords } from "./text.ts";
import "./caches.css";

/** So many descriptors are listed, the last ones. */
const MOST_LISTED = 10;

const Body = ({ settings, keep, language, state, store }: ViewProps<CacheSettings>): VNode => {
  const say = cacheWords(language);
  const lab = runCaches(settings);
  const { done, page } = settings;
  const { queue } = lab;
  const button = (operation: Operation): VNode => <button key={operation.do} type="button" disabled={done.length >= MOST_DONE} onClick={() => { keep({ done: [...done, operation] }); }}>{say(operation.do, { page })}</button>;
  const listed = queue.entries.slice(-MOST_LISTED);
  return (
    <article class="caches">
      <h1>{say("title")}</h1>
      <p>{say("about")}</p>
      <form class="row" onSubmit={(event) => { event.preventDefault(); }}>
        <Choice label={say("vendor")} name="vendor" value={settings.vendor} options={[["intel", "Intel VT-d"], ["intel-scalable", say("scalable")], ["amd", "AMD-Vi"]]} onChange={(vendor) => { keep({ vendor }); }} />
        <Choice label={say("policy")} name="policy" value={settings.policy} options={[["none", say("none")], ["realistic", say("realistic")], ["adversarial", say("adversarial")]]} onChange={(policy) => { keep({ policy }); }} />
        <Choice label={say("discipline")} name="discipline" value={settings.discipline} options={[["hand", say("hand")], ["strict", say("strict")], ["lazy", say("lazy")]]} onChange={(discipline) => { keep({ discipline }); }} />
        <Choice label={say("page")} name="page" value={String(page)} options={Array.from({ length: PAGES }, (_, i) => [String(i), `${i} (${hex((lab.firstPage + i) * 4096)})`])} onChange={(chosen) => { keep({ page: Number(chosen) }); }} />
        <Tick label={say("absent", { bit: settings.vendor === "amd" ? "NpCache" : "CM" })} name="absent" on={settings.absent} onChange={(absent) => { keep({ absent }); }} />
        <Tick label={say("hold")} name="hold" on={settings.hold} onChange={(hold) => { keep({ hold }); }} />
      </form>
      <h2>{say("actions")}</h2>
      <div class="groups">
        <fieldset><legend>{say("software")}</legend>{button({ do: "map", page })}{button({ do: "unmap", page })}{button({ do: "move" })}</fieldset>
        <fieldset><legend>{say("device")}</legend>{button({ do: "read", page })}{button({ do: "write", page })}{button({ do: "ats", page })}</fieldset>
        <fieldset><legend>{say("queueActions")}</legend>{button({ do: "invalidate-page", page })}{button({ do: "invalidate-domain" })}{button({ do: "invalidate-global" })}{button({ do: "invalidate-source" })}{lab.hasPasidCache && button({ do: "invalidate-pasid" })}{button({ do: "invalidate-device", page })}{button({ do: "wait" })}{settings.hold && button({ do: "bell" })}{settings.discipline === "lazy" && button({ do: "flush" })}</fieldset>
      </div>
      <div class="row">
        <button type="button" disabled={done.length === 0} onClick={() => { keep({ done: done.slice(0, -1) }); }}>{say("undo")}</button>
        <button type="button" disabled={done.length === 0} onClick={() => { keep({ done: [] }); }}>{say("clear")}</button>
      </div>
      <p role="status" class={lab.stale === 0 ? "holds" : "fails"}>{lab.stale === 0 ? say("safe") : say("danger", { count: lab.stale })} {say("rate", { hits: lab.hits, misses: lab.misses })}.</p>
      {lab.window.length > 0 && <p>{say("window", { pages: lab.window.join(", ") })}</p>}
      <div class="cache-body">
        <section>
          <h2>{say("happened")}</h2>
          <ol>{lab.outcomes.map((outcome, i) => <li key={i} class={isStale(outcome) ? "stale" : undefined}>{outcomeSentence(outcome, say)}</li>)}</ol>
        </section>
        <CacheTables lab={lab} say={say} selected={state.selection.address} onAddress={(address) => { store.select({ address }); }} />
      </div>
      <h2>{say("queue")}</h2>
      <QueueStrip queue={queue} say={say} />
      <p>{say("status", { status: queue.status })}</p>
      {listed.length > 0 && <Table caption={say("queue")} heads={[say("place"), say("descriptor"), say("words"), say("state")]} rows={listed.map(({ index, name, words }) => [index, <span key="name" lang="en">{name}</span>, <code key="words">{wordsText(words)}</code>, say(index < queue.head ? "doneState" : "waiting")])} />}
    </article>
  );
};

const toText = ({ settings, language }: ViewProps<CacheSettings>): string => {
  const say = cacheWords(language);
  const lab = runCaches(settings);
  return [...lab.outcomes.map((outcome) => outcomeSentence(outcome, say)), "", say("rate", { hits: lab.hits, misses: lab.misses }), "", tableText([say("domain"), say("address"), say("frame")], lab.contents.translations.map(({ domain, page, hostPage }) => [domain, hex(page * 4096), hex(hostPage * 4096)]))].join("\n");
};

/** Caches of the IOMMU and of a device, and the queue that empties them. */
export const VIEW = view<CacheSettings>({ read: readCaches, Body, text: toText });
