// Pictures waiting to be sent. In: files that were picked, pasted or dropped. Out: data URIs and their thumbnails.

const FORMATS = {
  "image/jpeg": "jpeg",
  "image/png": "png",
  "image/gif": "gif",
  "image/webp": "webp",
};

/** The pictures of the next message, shown in `strip`. */
export class Pictures {
  #strip;
  #words;
  #list = [];
  #onChange;

  constructor(strip, words, onChange) {
    this.#strip = strip;
    this.#words = words;
    this.#onChange = onChange;
  }

  get empty() {
    return this.#list.length === 0;
  }

  /** Adds files; resolves to what went wrong, one sentence each. */
  async add(files) {
    const problems = [];
    const read = await Promise.all(
      [...files].map(async (file) => {
        if (!file.type.startsWith("image/")) {
          problems.push(this.#words.notPicture(file.name));
          return undefined;
        }
        try {
          return { url: await toDataUri(file), format: FORMATS[file.type] };
        } catch {
          problems.push(this.#words.unreadable(file.name));
          return undefined;
        }
      }),
    );
    this.#list.push(...read.filter((picture) => picture !== undefined));
    this.#show();
    return problems;
  }

  /** Hands over the pictures and forgets them. */
  take() {
    const pictures = this.#list;
    this.#list = [];
    this.#show();
    return pictures;
  }

  #show() {
    this.#strip.replaceChildren(...this.#list.map((picture) => this.#thumbnail(picture)));
    this.#onChange();
  }

  #thumbnail(picture) {
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    image.src = picture.url;
    image.alt = "";
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "×";
    remove.ariaLabel = this.#words.remove;
    remove.addEventListener("click", () => {
      this.#list = this.#list.filter((other) => other !== picture);
      this.#show();
    });
    figure.append(image, remove);
    return figure;
  }
}

function toDataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}
