"""The words the embedded model knows as whole words. New ones go at the end: ids of old ones must not move."""

from __future__ import annotations

from agents.tasks import maze
from agents.tasks.maze_words import cell_name

_MAZE = """dead ends end : . , ? ! grey them no agent at go up down left right goal the done correct wrong size route walked answer
maze next judge describe none cell unreadable in wall changed gone moved two jumped on went back early greyed missed lost
trail missing stayed draw board row open floor north south east west is only step look again fix redraw picture model
program"""
_FIGURES = """geometry figure triangle quadrilateral circle square rectangle parallelogram trapezoid point line segment ray angle side
vertex midpoint foot median altitude bisector perpendicular parallel midline diagonal radius chord diameter tangent
through from to of and mark connect extend equal half twice sum length area degrees right-angled isosceles equilateral
because so therefore hence with is not are same both by = + - * / ( ) ° √ find what which how long big prove given answer
auxiliary add why meets meet at ends start base height A B C D E F G H I J K L M N O P Q R S T U V W X Y Z AB BC CA AC AD
BD CD AE BE CE DE AF BF CF DF EF AM BM CM AO BO CO DO MN PQ AH BH CH"""
_SCENES = """compose scene red orange yellow green blue purple pink brown black white circle circles square squares triangle triangles
star stars cross crosses hexagon hexagons pentagon pentagons small large big above below under over near beside between a
an one two three four five six seven eight nine ten zero many any all there isn't it has have put place make turn into
remove delete erase move swap resize recolour recolor bigger smaller replace keep change colour color shape object objects
top bottom middle centre center corner edge first second third more less than too few count yes true false overlap
touching inside outside plan layout paint every each without"""
_GENERAL = """I you we see think must should can cannot will would this that these those here now then if else but or as for be was were
do does did just still also already finally let's check checked mistake error repair repaired ok good bad please show tell
me my your image question solve solved solution problem task hint reason reasoning try tries another other same different
new old last"""
_CHINESE = """迷宫 下一步 判断 描述 路线 答案 正确 错误 死路 走 上 下 左 右 终点 完成 三角形 四边形 圆 正方形 星 十字 红 橙 黄 绿 蓝 紫
粉 棕 黑 白 灰 色 一 二 三 四 五 六 两 个 的 在 上面 下面 左边 右边 旁边 画 添加 删除 移动 变成 交换 中点 中线 高 角平分线
平行 垂直 对角线 半径 边 角 长度 面积 度 等于 多少 连接 作 点 线 没有 有 和 小 大 请 图 把 换成 是 吗 什么 哪里 为什么"""

_MORE = """ask away beneath box boxes clear direct disc discs exchange extra huge i larger little plus pluses shapes take thing things
tiny violet want elsewhere asked six-sided 六边形 到 所有
angles areas bases chords cuts diagonals distance equally far goes halves heights its kite makes midpoints nearer product scale"""
_LATER = "drawn straight slanted sides along"


def words() -> list[str]:
    """All whole words, in the order of their ids."""
    cells = [cell_name((row, column)) for row in range(16) for column in range(16)]
    numbers = [str(number) for number in range(181)]
    task = [word for text in (*maze.FAULTS.values(), *maze.INSTRUCTIONS.values()) for word in text.split()]
    first = [word for text in (_MAZE, " ".join(task), _FIGURES, _SCENES, _GENERAL, _CHINESE) for word in text.split()]
    large = [str(number) for number in range(190, 361, 10)]
    return [*first, *cells, *numbers, *_MORE.split(), *large, *_LATER.split()]
