import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LANGUAGES } from "../src/text/words.ts";
import { addressOf, hasBrowser, openPage, type Served, servePage, shown } from "./page.ts";


describe.skipIf(!hasBrowser)("views of a host, in Chromium", () => {
  let served: Served;
  beforeAll(async () => { served = await servePage(); }, 60_000);
  afterAll(async () => { await served.close(); });

  const views = ["topology", "planner", "inspector", "addresses"] as const;
  test.each(views.flatMap((view) => LANGUAGES.map((language) => [view, language] as const)))("%s in %s: no error, no request after load, a heading", async (view, language) => {
    const { page, problems, requests } = await openPage(served, `#/${view}?lang=${language}`);
    const before = requests.length;
    expect(await page.locator("main h1").count()).toBe(1);
    expect(await page.locator("main [style]").count()).toBe(0);
    await page.waitForTimeout(150);
    expect(problems).toEqual([]);
    expect(requests.slice(before)).toEqual([]);
    await page.close();
  });

  test("topology: a click in the table selects; a ticked ACS bit parts the group and stands in the address", async () => {
    const { page, problems } = await openPage(served, "#/topology?lang=en");
    await page.getByRole("button", { name: "0000:00:01.0" }).click();
    expect(await page.locator("svg.topology .selected").count()).toBe(1);
    expect(await page.locator("tr.lit").count()).toBeGreaterThan(0);
    for (const bit of ["SV", "RR", "CR", "UF"]) await page.locator(`input[name=acs][value=${bit}]`).check();
    expect(await page.getByRole("heading", { name: "What that changes" }).count()).toBe(1);
    const there = await addressOf(page);
    await page.goto("about:blank");
    await page.goto(there);
    await shown(page);
    expect(await page.locator("input[name=acs][value=UF]").isChecked()).toBe(true);
    expect(problems).toEqual([]);
    await page.close();
  });

  test("topology: a write to a peer is drawn past the IOMMU; a ticked ACS bit sends it to the unit whose ground it stands on", async () => {
    const { page, problems } = await openPage(served, "#/topology?lang=en");
    expect(await page.locator("svg.topology .ground").count()).toBe(18);
    await page.getByRole("button", { name: "0000:01:00.1" }).click();
    await page.selectOption("select[name=peer]", "0000:01:00.0");
    const end = page.locator("section[aria-labelledby=peer] [role=status]");
    expect([await page.locator("svg.topology .packet.peer").count(), await end.innerText()]).toEqual([1, "✗ The packet reaches 0000:01:00.0 past the IOMMU, which never hears of it."]);
    await page.locator("input[name=acs][value=RR]").check();
    expect(await end.innerText()).toBe("The packet is refused at 0000:00:01.0 and reaches nobody.");
    await page.getByRole("button", { name: "0000:00:01.0" }).click();
    await page.locator("input[name=acs][value=UF]").check();
    await page.getByRole("button", { name: "0000:01:00.1" }).click();
    expect([await page.locator("svg.topology .packet.root").count(), await end.innerText()]).toEqual([1, "The packet goes up to the root complex. Who judges it there: U1."]);
    expect(problems).toEqual([]);
    await page.close();
  });

  test("topology: what is pasted is shown as text, whatever it says", async () => {
    const { page, problems, requests } = await openPage(served, "#/topology?lang=en");
    const before = requests.length;
    await page.locator("summary").first().click();
    await page.locator("textarea[name=paste]").fill("00:02.0 VGA compatible controller [0300]: <img src=x onerror=alert(1)> [8086:0162]\n\tKernel driver in use: <b>i915</b>\n");
    await page.locator("button[name=take]").click();
    await page.waitForSelector("text=recognised: lspci");
    expect(await page.locator("main img, main b").count()).toBe(0);
    expect(await page.locator("main").innerText()).toContain("<img src=x");
    expect(requests.slice(before)).toEqual([]);
    expect(problems).toEqual([]);
    await page.close();
  });

  test("planner: a ticked function gives files, another distribution other files; a verdict stands above the rules", async () => {
    const { page, problems } = await openPage(served, "#/planner?lang=en");
    expect(await page.locator("pre.file-text").count()).toBe(0);
    await page.locator("input[name=device][value='0000:01:00.0']").check();
    await page.waitForSelector("pre.file-text");
    const readme = await page.locator("pre.file-text").innerText();
    await page.locator("select[name=distro]").selectOption("fedora");
    await page.waitForFunction((before) => document.querySelector("pre.file-text")?.textContent !== before, readme);
    await page.locator("select[name=file]").selectOption("guest.xml");
    expect(await page.locator("pre.file-text").innerText()).toMatch(/^<domain type='kvm'>/);
    expect(await page.locator(".verdict").innerText()).toContain("exit code");
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("button[name=save-zip]").click()]);
    expect(download.suggestedFilename()).toBe("plan-fedora-libvirt.zip");
    expect(problems).toEqual([]);
    await page.close();
  });

  test("inspector: a field lights its bytes, a byte its field; a change is noticed and mended", async () => {
    const { page, problems } = await openPage(served, "#/inspector?lang=en");
    await page.locator("select[name=host-table]").selectOption("i7-3770-p8z68-v DMAR");
    await page.locator("button.byte[data-at='56']").click();
    expect(await page.locator("table.fields tr.lit").innerText()).toContain("BASE_LOW");
    expect(await page.locator("button.byte.lit").count()).toBe(4);
    await page.locator("input[name=value]").fill("0xfed95000");
    await page.locator("input[name=value]").press("Enter");
    await page.waitForSelector("text=table-checksum-wrong");
    await page.locator("button[name=checksum]").click();
    await page.waitForSelector("button[name=checksum]", { state: "detached" });
    expect(problems).toEqual([]);
    await page.close();
  });

  test("a text too large for the address is kept in the browser and said so", async () => {
    const { page, problems } = await openPage(served, "#/topology?lang=en");
    await page.locator("summary").first().click();
    const functions = Array.from({ length: 200 }, (_, i) => `00:${(i >> 3).toString(16).padStart(2, "0")}.${i & 7} Ethernet controller [0200]: Some Maker Device [1234:${i.toString(16).padStart(4, "0")}]`);
    await page.locator("textarea[name=paste]").fill(`${functions.join("\n")}\n`);
    await page.locator("button[name=take]").click();
    await page.waitForSelector("text=kept in this browser");
    await page.waitForSelector("text=200 functions, 0 groups");
    expect((await addressOf(page)).length).toBeLessThan(2_000);
    await page.reload();
    await shown(page);
    await page.waitForSelector("text=200 functions, 0 groups");
    expect(problems).toEqual([]);
    await page.close();
  });
});
