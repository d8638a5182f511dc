/** Gives the browser a file to keep. */
export const saveFile = (name: string, content: string | Blob, type = "text/plain"): void => {
  const url = URL.createObjectURL(typeof content === "string" ? new Blob([content], { type }) : content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(url); }, 1_000);
};

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font", "font-size", "font-family", "font-weight", "text-anchor", "dominant-baseline", "opacity", "color"] as const;

/** A picture that stands by itself: SVG, and its size in CSS pixels. */
export interface Picture {
  readonly svg: string;
  readonly width: number;
  readonly height: number;
}

/** A drawing of the page: what the style sheet says of it stands in it. */
export const pictureOf = (drawing: SVGSVGElement): Picture => {
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  const [shown, plain] = [[drawing, ...drawing.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
  shown.forEach((each, i) => {
    const style = getComputedStyle(each);
    for (const property of PROPERTIES) plain[i]?.setAttribute(property, style.getPropertyValue(property));
  });
  const shownSize = drawing.getBoundingClientRect();
  // Where a phone shows a tree in its place it has no size but its own.
  const size = shownSize.width > 0 ? shownSize : { width: drawing.width.baseVal.value, height: drawing.height.baseVal.value };
  const [width, height] = [Math.max(1, Math.ceil(size.width)), Math.max(1, Math.ceil(size.height))];
  copy.setAttribute("xmlns", SVG);
  if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { svg: new XMLSerializer().serializeToString(copy), width, height };
};

const FONT_SIZE = 13;
const LINE_HEIGHT = 18;
const MARGIN = 12;
/** Browsers draw no larger pictures. */
const MOST_PIXELS = 16_000;

const pen = (): CanvasRenderingContext2D => {
  const context = document.createElement("canvas").getContext("2d");
  if (!context) throw new Error("This browser draws no pictures.");
  return context;
};

/** A view's text as a picture, for views that draw nothing. */
export const pictureOfText = (text: string): Picture => {
  const lines = text.replaceAll("\t", "    ").split("\n").slice(0, Math.floor((MOST_PIXELS / 2 - 2 * MARGIN) / LINE_HEIGHT));
  const { color } = getComputedStyle(document.body);
  const measure = pen();
  measure.font = `${FONT_SIZE}px monospace`;
  const widest = lines.reduce((most, line) => Math.max(most, measure.measureText(line).width), 1);
  const root = document.createElementNS(SVG, "svg");
  const [width, height] = [Math.min(MOST_PIXELS / 2, Math.ceil(widest) + 2 * MARGIN), lines.length * LINE_HEIGHT + 2 * MARGIN];
  for (const [name, value] of Object.entries({ xmlns: SVG, viewBox: `0 0 ${width} ${height}`, "font-family": "monospace", "font-size": String(FONT_SIZE), fill: color })) root.setAttribute(name, value);
  lines.forEach((line, i) => {
    const row = document.createElementNS(SVG, "text");
    for (const [name, value] of Object.entries({ x: String(MARGIN), y: String(MARGIN + i * LINE_HEIGHT + FONT_SIZE), "xml:space": "preserve" })) row.setAttribute(name, value);
    row.textContent = line;
    root.append(row);
  });
  return { svg: new XMLSerializer().serializeToString(root), width, height };
};

/** A picture as PNG, at twice its size. */
export const pngOf = async ({ svg, width, height }: Picture): Promise<Blob> => {
  const picture = new Image(width, height);
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await picture.decode();
  const context = pen();
  const { canvas } = context;
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  context.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => { canvas.toBlob((blob) => { if (blob) done(blob); else fail(new Error("This browser makes no PNG.")); }, "image/png"); });
};
