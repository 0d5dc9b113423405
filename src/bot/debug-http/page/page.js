// The chat page. In: what somebody types, pastes, drops or clicks. Out: messages to the bot and its answers.

import { ChatError, getJson, resetChat, sendMessage } from "./chat-client.js";
import { AnswerView, userMessage } from "./message-view.js";
import { Pictures } from "./pictures.js";
import { words } from "./words.js";

const HUES = 6;
const byId = (id) => document.getElementById(id);
const messages = byId("messages");
const text = byId("text");
const pictures = new Pictures(byId("attachments"), words, showComposer);

const users = words.users.map((name, index) => ({ id: String(10_001 + index), name, hue: index }));
let user = users[0];
/** By chat: what is on its screen, and what is being answered. */
const chats = new Map();

/* ---- who talks where ---- */

function kind() {
  return document.querySelector("input[name=kind]:checked").value;
}

function groupId() {
  return byId("group-id").value.trim() || "20001";
}

/** The chat on the screen, as the fields of a request. */
function chatFields() {
  return kind() === "group"
    ? { type: "group", group_id: groupId() }
    : { type: "private", user_id: user.id };
}

function currentChat() {
  const fields = chatFields();
  const key = `${fields.type}:${fields.group_id ?? fields.user_id}`;
  let chat = chats.get(key);
  if (!chat) {
    chat = { log: document.createElement("div"), running: new Set() };
    chat.log.className = "log";
    chat.log.append(welcome());
    chats.set(key, chat);
  }
  return chat;
}

function welcome() {
  const box = document.createElement("div");
  box.className = "welcome";
  const title = document.createElement("h2");
  title.textContent = words.emptyTitle;
  const explanation = document.createElement("p");
  explanation.textContent = words.emptyText;
  box.append(title, explanation);
  return box;
}

function showChat() {
  byId("group-field").hidden = kind() !== "group";
  byId("users").replaceChildren(...users.map(userChip));
  text.placeholder = words.placeholder(user.name);
  messages.replaceChildren(currentChat().log);
  messages.scrollTop = messages.scrollHeight;
  showComposer();
}

function userChip(one) {
  const label = document.createElement("label");
  label.className = `chip hue-${one.hue}`;
  const radio = document.createElement("input");
  radio.type = "radio";
  radio.name = "user";
  radio.checked = one === user;
  radio.addEventListener("change", () => {
    user = one;
    showChat();
  });
  label.append(radio, one.name);
  return label;
}

/* ---- sending ---- */

function message(content, images) {
  return {
    ...chatFields(),
    ...(kind() === "group" ? { group_name: words.groupName, user_card: user.name } : {}),
    user_id: user.id,
    user_nickname: user.name,
    content,
    images: images.map(({ url, format }) => ({ data: url, ...(format && { format }) })),
    timestamp: Date.now() / 1000,
  };
}

async function send() {
  const content = text.value;
  if (content.trim() === "" && pictures.empty) return;
  const images = pictures.take();
  text.value = "";
  showNotice([]);

  const chat = currentChat();
  const answer = new AnswerView(words);
  const controller = new AbortController();
  chat.log.querySelector(".welcome")?.remove();
  chat.log.append(userMessage(user, content, images, words, view), answer.element);
  chat.running.add(controller);
  showComposer();
  messages.scrollTop = messages.scrollHeight;

  try {
    await showAnswer(answer, sendMessage(message(content, images), controller.signal));
  } catch (error) {
    showFailure(answer, error, controller.signal.aborted);
    // What did not arrive need not be typed again.
    if (text.value === "") text.value = content;
  } finally {
    chat.running.delete(controller);
    keepBottom(() => {});
    showComposer();
  }
}

async function showAnswer(answer, events) {
  let complete = false;
  for await (const { event, data } of events) {
    keepBottom(() => {
      if (event === "text-delta") answer.addText(data.text);
      else if (event === "reasoning-delta") answer.addReasoning(data.text);
      else if (event === "finish") answer.setFacts(data);
      else if (event === "reply") answer.setReply(data.reply, data.should_reply);
    });
    complete ||= event === "reply";
  }
  if (!complete) throw new ChatError("", words.cutOff);
}

function showFailure(answer, error, stopped) {
  if (stopped) answer.setStopped();
  else if (error instanceof ChatError)
    answer.setError(error.code, words.errors[error.code] ?? error.message);
  else answer.setError("", words.offline);
  void showModel();
}

/** Follows the answer as it grows, unless somebody scrolled up to read. */
function keepBottom(change) {
  const atBottom = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 60;
  change();
  if (atBottom) messages.scrollTop = messages.scrollHeight;
}

function stop() {
  for (const controller of currentChat().running) controller.abort();
}

/* ---- the rest of the screen ---- */

/** Nothing to send while an answer is running: the button stops it. */
function showComposer() {
  const nothing = text.value.trim() === "" && pictures.empty;
  const stops = nothing && currentChat().running.size > 0;
  const button = byId("send");
  button.classList.toggle("stops", stops);
  button.disabled = nothing && !stops;
  button.ariaLabel = stops ? words.stop : words.send;
  button.title = button.ariaLabel;
}

function showNotice(sentences) {
  byId("notice").hidden = sentences.length === 0;
  byId("notice").textContent = sentences.join(" · ");
}

function view(url) {
  byId("viewer-picture").src = url;
  byId("viewer").showModal();
}

async function addFiles(files) {
  showNotice(await pictures.add(files));
  text.focus();
}

async function showModel() {
  const state = byId("model-state");
  const name = byId("model-name");
  try {
    const [health, info] = await Promise.all([getJson("/health"), getJson("/api/info")]);
    const healthy = health.status === "healthy";
    state.className = healthy ? "dot good" : "dot bad";
    name.textContent = healthy
      ? [info.model?.name, health.device].filter(Boolean).join(" · ")
      : words.unhealthy;
  } catch {
    state.className = "dot bad";
    name.textContent = words.offline;
  }
}

function label() {
  document.documentElement.lang = words.lang;
  byId("reset").textContent = words.reset;
  byId("status").textContent = words.status;
  byId("kind-group").textContent = words.group;
  byId("kind-private").textContent = words.private;
  byId("group-label").textContent = words.groupId;
  byId("group-id").value = groupId();
  byId("new-user-name").placeholder = words.addUser;
  byId("new-user-name").ariaLabel = words.userName;
  byId("add-user").ariaLabel = words.addUser;
  byId("kinds").ariaLabel = words.where;
  byId("users").ariaLabel = words.speaker;
  byId("drop-label").textContent = words.drop;
  byId("attach").ariaLabel = words.attach;
  byId("attach").title = words.attach;
}

function listen() {
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (byId("send").classList.contains("stops")) stop();
    else void send();
  });
  text.addEventListener("input", showComposer);
  text.addEventListener("keydown", (event) => {
    // Enter also picks a word from an input method; that one is not ours.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void send();
  });
  byId("attach").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", (event) => {
    void addFiles([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    void addFiles(files);
  });
  listenForDrops();

  byId("kinds").addEventListener("change", showChat);
  byId("group-id").addEventListener("change", showChat);
  byId("new-user").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("new-user-name").value.trim();
    if (name === "") return;
    user = { id: String(10_001 + users.length), name, hue: users.length % HUES };
    users.push(user);
    byId("new-user-name").value = "";
    showChat();
    text.focus();
  });
  byId("status").addEventListener("click", () => location.assign(`/status${location.search}`));
  byId("reset").addEventListener("click", () => void reset());
  byId("viewer").addEventListener("click", () => byId("viewer").close());
}

function listenForDrops() {
  const veil = byId("drop");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    void addFiles([...event.dataTransfer.files]);
  });
}

async function reset() {
  const chat = currentChat();
  stop();
  try {
    await resetChat(chatFields());
    chat.log.replaceChildren(welcome());
    showNotice([]);
  } catch (error) {
    showNotice([error instanceof ChatError ? error.message : words.offline]);
  }
}

label();
listen();
showChat();
text.focus();
await showModel();
