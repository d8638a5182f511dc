/** Gives the browser a file to keep. */
export const saveFile = (name: string, content: string | Blob, type = "text/plain"): void => {
  const url = URL.createObjectURL(typeof content === "string" ? new Blob([content], { type }) : content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(url); }, 1_000);
};

const PROPERTIES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font", "font-size", "font-family", "font-weight", "text-anchor", "dominant-baseline", "opacity", "color"] as const;

/** A drawing by itself: what the page's style sheet says of it stands in it. */
export const svgText = (drawing: SVGSVGElement): string => {
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  const [shown, plain] = [[drawing, ...drawing.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
  shown.forEach((each, i) => {
    const style = getComputedStyle(each);
    for (const property of PROPERTIES) plain[i]?.setAttribute(property, style.getPropertyValue(property));
  });
  const { width, height } = drawing.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`);
  return new XMLSerializer().serializeToString(copy);
};

/** The drawing as a picture, at twice its size. */
export const pngOf = async (drawing: SVGSVGElement): Promise<Blob> => {
  const { width, height } = drawing.getBoundingClientRect();
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(drawing))}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.ceil(2 * width));
  canvas.height = Math.max(1, Math.ceil(2 * height));
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser draws no pictures.");
  context.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => { canvas.toBlob((blob) => { if (blob) done(blob); else fail(new Error("This browser makes no PNG.")); }, "image/png"); });
};
