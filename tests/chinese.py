#!/usr/bin/python3
"""The usual mistakes in Chinese text: tests/chinese.py FILE... says each with its line; the status is 1 if there are any.

Looked for: half-width punctuation beside Chinese characters, doubled characters and words, doubled or unpaired punctuation, a space between
two Chinese characters, none between a Chinese character and a Latin letter or digit, traditional characters, words that are often
confused, and words that are used in other places than the mainland. Code (in backticks, in indented lines of Markdown, in mdoc's
macros) is not text."""

import re
import sys

HAN = "[\u4e00-\u9fff]"
RULES = [
    (f"{HAN}[,;:!?]|[,;!?]{HAN}", "half-width punctuation beside a Chinese character"),
    (rf"{HAN}\.(?=\s|$|{HAN})", "a half-width full stop behind a Chinese character"),
    (rf"{HAN}\(|\){HAN}", "half-width brackets beside a Chinese character"),
    (r"([的了是在和与或被把对从到会可要有也就而其这那着过地得及将由为])\1", "a doubled character"),
    (f"({HAN}{{2,6}})\\1", "a doubled word"),
    (r"[，。；：、？！]{2}|[（“][，。；：、]|[，；：、][）”]", "punctuation that cannot stand together"),
    (f"{HAN} +{HAN}", "a space between two Chinese characters"),
    (rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9]{HAN}", "no space between a Chinese character and a Latin letter or digit"),
    (r"[ \t][，。；：、？！）”]|[（“，。；：、？！][ \t]+(?=[^\s*])", "a space beside full-width punctuation"),
    ("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u3000]", "a full-width letter, digit or space"),
]
# Characters of common words that the simplified script has not.
TRADITIONAL = (
    "個們來傳優倉儲價億兒兩內寫凍創刪劃劇動務勞勢匯區協單參雙發變號員問啟喪嗎圖團國園圓場塊壓壞聲處備夠夢頭奪學實寧審寫寬對導專將尋層屬歲島幣帶幫庫應廢廣廳張強彈彙後徑從復徵恆悅惡態慣懷戰"
    "戶執擇擊擔據擴擺攜數敵斷於時晉書會條極樣標機構樓權歡歲歷殺毀氣決沒測準滅滿漢潔災為無煩熱燈爾狀獨獎環現產畫異當疊發監盡盤確碼礎禮種稱穩窮競筆節範築簡類糧純紅級紀約組絡給統絲經綁維網緊緒線編緩"
    "練縮總績織繞繼續罰羅習聯職聽肅臨興舉舊艦藝節莊華萬葉蓋蔣藍處號蟲術衛裝裡補複見規視覺觀觸計訂討訊訓記許設訪評試詢該詳誌認語誤說課調請論證識譯議護讀變讓豐負財責費資賴購質贏趕跡軟較載輕輛輸轉辦農"
    "迴這連進運過達違遠適選遺還邊邏郵鄰醫釋錄錯鍵鎖鏈鐘長門閉開間閱關隊階際隨隱難雜離電靜響頁頂項順須預頻題額願類風飛馬駐驅驗驟體點黨齊"
)
# What is often confused, or said elsewhere: the word, and what is meant here.
CONFUSED = {
    "帐号": "账号", "登陆": "登录", "其它": "其他", "做为": "作为", "既使": "即使", "在次": "再次", "反回": "返回",
    "布署": "部署", "起用": "启用", "按装": "安装", "配制": "配置", "阀值": "阈值", "粘帖": "粘贴", "缺醒": "缺省",
    "必需要": "必须", "必须品": "必需品", "好象": "好像", "图象": "图像", "分岐": "分歧", "通迅": "通讯", "侯选": "候选", "由其是": "尤其是",
    "己经": "已经", "自已": "自己", "末命中": "未命中", "未尾": "末尾", "溶量": "容量", "重起": "重启", "关建": "关键", "健值": "键值",
    "伺服器": "服务器", "网路": "网络", "程式": "程序", "资讯": "信息", "预设": "默认", "位元组": "字节", "记忆体": "内存", "执行绪": "线程",
    "快取": "缓存", "连线": "连接", "软体": "软件", "硬体": "硬件", "档案": "文件", "使用者": "用户", "缺省": "默认", "丛集": "集群",
}
PAIRS = ["（）", "“”", "《》"]


def text_of(name, lines):
    """The lines' text, what is code in them blanked out."""
    fenced = False
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\n")
        if name.endswith(".md"):
            if line.startswith("```"):
                fenced = not fenced
            # What is explained behind a command is text.
            if line.startswith("    "):
                line = line.partition(" # ")[2]
            line = "" if fenced else re.sub(r"`[^`]*`", "`", line)
            line = re.sub(r"\]\([^)]*\)", "]", line)
        elif line.startswith(('.\\"', "'")):
            line = ""
        elif line.startswith("."):
            # The words of a macro stand apart, and are joined by mandoc.
            line = " ".join(word for word in line.split()[1:] if re.search(f"{HAN}|[（）“”《》]", word)).replace(" ", "\n")
        else:
            line = re.sub(r"\\f.|\\&", "", line)
        yield number, line


def complaints(name):
    with open(name, encoding="utf-8") as file:
        lines = file.readlines()
    open_at = {}
    for number, line in text_of(name, lines):
        for pattern, what in RULES:
            for found in re.finditer(pattern, line):
                yield number, f"{what}: {line[max(0, found.start() - 6):found.end() + 6]}"
        for character in line:
            if character in TRADITIONAL:
                yield number, f"a traditional character: {character}"
        for word, meant in CONFUSED.items():
            if word in line:
                yield number, f"{word}: {meant} is meant"
        # A pair stands in one paragraph.
        if re.match(r"\s*$|\.(Pp|It|Sh|Ss|El|Bl)\b|[-#|] ", lines[number - 1]):
            for first, last in PAIRS:
                if open_at.pop(first, 0) > 0:
                    yield number, f"{first} without {last} in the paragraph above"
        for first, last in PAIRS:
            for character in line:
                if character == first:
                    open_at[first] = open_at.get(first, 0) + 1
                elif character == last:
                    open_at[first] = open_at.get(first, 0) - 1
                    if open_at[first] < 0:
                        open_at[first] = 0
                        yield number, f"{last} without {first}"


def main():
    count = 0
    for name in sys.argv[1:]:
        for number, what in complaints(name):
            print(f"{name}:{number}: {what}")
            count += 1
    return int(count > 0)


sys.exit(main())
