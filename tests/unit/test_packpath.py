from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import date, timedelta
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypx.errors import InputError
from pypx.model.packpath import (
    DEFAULT_TEMPLATES,
    MAX_FILE_BYTES,
    MAX_FOLDER_BYTES,
    PYPX_PUSH_TEMPLATES,
    PYPX_TEMPLATES,
    PackPath,
    Templates,
    legal_component,
    pack_path,
    parse_template,
)
from pypx.model.template import age_days

TAGS = {
    "PatientID": "4412364",
    "PatientName": "DOE^JANE",
    "PatientBirthDate": "20100131",
    "PatientAge": "006Y",
    "StudyDate": "20160304",
    "StudyDescription": "MR Brain w/o contrast",
    "AccessionNumber": "ACC123",
    "SeriesNumber": "2",
    "SeriesDescription": "T1 SAG [fast]",
    "InstanceNumber": "7",
    "StudyInstanceUID": "1.2.3.100",
    "SeriesInstanceUID": "1.2.3.100.1",
    "SOPInstanceUID": "1.2.3.100.1.7",
}
ROOT, STUDY, SERIES, IMAGE = PYPX_TEMPLATES.root, PYPX_TEMPLATES.study, PYPX_TEMPLATES.series, PYPX_TEMPLATES.image
PUSH_STUDY = PYPX_PUSH_TEMPLATES.study
BRAIN = "MR_Brain_w_o_contrast-ACC123-20160304"
ABSENT = None


def component(template: str, **changes: str | None) -> str:
    """One component from TAGS with `changes`; ABSENT takes a tag away."""
    tags = {key: value for key, value in {**TAGS, **changes}.items() if value is not None}
    return pack_path(Templates(template, "x", "x", "x"), tags).root


# What pypx 3 made of these, and what stays.
@pytest.mark.parametrize(
    ("template", "changes", "expected"),
    [
        (ROOT, {}, "4412364-DOE_JANE-20100131"),
        (ROOT, {"PatientBirthDate": ""}, "4412364-DOE_JANE-"),
        (ROOT, {"PatientBirthDate": ABSENT}, "4412364-DOE_JANE-_PatientBirthDate"),
        (STUDY, {}, BRAIN),
        (STUDY, {"AccessionNumber": ABSENT}, "MR_Brain_w_o_contrast-_AccessionNumber-20160304"),
        (PUSH_STUDY, {}, f"{BRAIN}-006Y-002224d"),
        (PUSH_STUDY, {"PatientAge": ABSENT}, f"{BRAIN}-006Y-002224d"),
        (PUSH_STUDY, {"PatientAge": ""}, f"{BRAIN}--002224d"),
        (PUSH_STUDY, {"PatientAge": ABSENT, "PatientBirthDate": ""}, f"{BRAIN}-000D-000000d"),
        ("%PatientAge", {"PatientAge": ABSENT, "PatientBirthDate": "20160301"}, "003D"),
        ("%PatientAge", {"PatientAge": ABSENT, "PatientBirthDate": "20160229"}, "004D"),
        ("%PatientAge", {"PatientAge": ABSENT, "PatientBirthDate": "20160201"}, "001M"),
        ("%PatientAge", {"PatientAge": ABSENT, "PatientBirthDate": "20151004"}, "005M"),
        ("%PatientAge", {"PatientAge": ABSENT, "PatientBirthDate": "20150306"}, "012M"),
        ("%PatientAge", {"PatientAge": ABSENT, "PatientBirthDate": "2016-02-20"}, "002W"),
        (SERIES, {}, "00002-T1_SAG_fast_"),
        (SERIES, {"SeriesDescription": ""}, "00002-"),
        (SERIES, {"SeriesDescription": ABSENT}, "00002-_SeriesDescription"),
        (SERIES, {"SeriesNumber": ""}, "00000-T1_SAG_fast_"),
        (SERIES, {"SeriesNumber": ABSENT}, "_SeriesNumber-T1_SAG_fast_"),
        (IMAGE, {}, "0007-1.2.3.100.1.7.dcm"),
        (DEFAULT_TEMPLATES.series, {}, "00002-T1_SAG_fast_-d8d4a52"),
        ("%SeriesDescription-%_seahash|7_SeriesInstanceUID", {}, "T1_SAG_fast_-3390aaa"),
        ("%_seahash_SeriesInstanceUID", {}, "3390aaaffce30da0"),
        ("%_seahash_PatientID", {"PatientID": "6"}, "7a14d3d1db8478b"),
        ("%_md5_PatientID", {}, "6203f50faaba57e78e370d454d4d66ee"),
        ("%PatientAge-%_md5|4_PatientID-output.txt", {}, "006Y-6203-output.txt"),
        ("%_md5|4_PatientID-%_md5|4_PatientName", {}, "6203-d70d"),
        ("%_strmsk|******01_PatientID", {}, "4412360"),
        ("%_strmsk|****_PatientID", {}, "4412"),
        ("%_strmsk|**XX_PatientID", {}, "44XX"),
        ("%_nospc|-_StudyDescription", {}, "MR-Brain-w-o-contrast"),
        ("%_nospc_StudyDescription", {}, "MRBrainwocontrast"),
        ("%_pad|4,x_InstanceNumber", {}, "xxx7"),
        ("%_pad|2,0_InstanceNumber", {"InstanceNumber": "1234"}, "1234"),
        ("%_pad|3_InstanceNumber", {}, "007"),
        ("%_pad_InstanceNumber", {}, "7"),
        ("%SeriesDescription", {"SeriesDescription": "../../etc/passwd"}, ".._.._etc_passwd"),
        ("%StudyInstanceUID/%SeriesInstanceUID", {}, "1.2.3.100_1.2.3.100.1"),
        ("%SeriesDescription", {"SeriesDescription": "a\\b"}, "_a_b_"),  # pypx printed a list: ['a', 'b']
    ],
)
def test_kept_from_pypx(template: str, changes: dict[str, str | None], expected: str) -> None:
    assert component(template, **changes) == expected


def test_the_whole_path() -> None:
    path = pack_path(PYPX_TEMPLATES, TAGS)
    assert path == PackPath("4412364-DOE_JANE-20100131", BRAIN, "00002-T1_SAG_fast_", "0007-1.2.3.100.1.7.dcm")
    assert path.directory == PurePosixPath(f"4412364-DOE_JANE-20100131/{BRAIN}/00002-T1_SAG_fast_")
    assert path.file == path.directory / "0007-1.2.3.100.1.7.dcm"


# What pypx 3 got wrong, and the right behaviour.
@pytest.mark.parametrize(
    ("template", "changes", "expected"),
    [
        # a keyword is a keyword, not a substring
        ("%ManufacturerModelName-%PatientID", {"Manufacturer": "SIEMENS", "ManufacturerModelName": "Skyra"}, "Skyra-4412364"),
        ("%AcquisitionProtocolName", {"ProtocolName": "p", "AcquisitionProtocolName": "a"}, "a"),
        ("%PatientID-Modality-%StudyDate", {"Modality": "MR"}, "4412364-Modality-20160304"),
        # a function acts on its own keyword only
        (SERIES, {"SeriesNumber": ABSENT, "SeriesDescription": ""}, "_SeriesNumber-"),
        ("%_md5|4_PatientID-%StudyDate", {"PatientID": ABSENT}, "_PatientID-20160304"),
        # a keyword ends where its letters and digits end
        ("%PatientIDx-%PatientID", {}, "_PatientIDx-4412364"),
        ("%PatientID_%StudyDate.%SeriesNumber", {}, "4412364_20160304.2"),
        # a value is never read as template
        ("%PatientName-%PatientID", {"PatientName": "%PatientID"}, "_PatientID-4412364"),
        ("%PatientName-%PatientID", {"PatientName": "%_md5_PatientID"}, "_md5_PatientID-4412364"),
        # function names elsewhere are text
        ("%PatientID-filename", {}, "4412364-filename"),
        ("%StudyDescription-padded", {"StudyDescription": "x"}, "x-padded"),
        ("md5-%PatientID", {}, "md5-4412364"),
        # a tag may be used with and without function
        ("%PatientName-%_md5|6_PatientName", {}, "DOE_JANE-" + hashlib.md5(b"DOE^JANE").hexdigest()[:6]),
        ("%_md5|6_PatientName-%PatientName", {}, hashlib.md5(b"DOE^JANE").hexdigest()[:6] + "-DOE_JANE"),
        # letters of every script
        ("%PatientName", {"PatientName": "MÜLLER^JÖRG"}, "MÜLLER_JÖRG"),
        ("%PatientName", {"PatientName": "MU\u0308LLER^JO\u0308RG"}, "MÜLLER_JÖRG"),
        ("%PatientName", {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"}, "Yamada_Tarou_山田_太郎_やまだ_たろう"),
        ("%PatientName", {"PatientName": "Люкceмбypг"}, "Люкceмбypг"),
        ("%PatientName", {"PatientName": "राम^कुमारी"}, "राम_कुमारी"),
        ("%PatientName", {"PatientName": "قباني^لنزار"}, "قباني_لنزار"),
        ("%_nospc_PatientName", {"PatientName": "राम^कुमारी"}, "रामकुमारी"),
        # what other systems may take for a separator, invisible characters, undecodable bytes
        ("%PatientName", {"PatientName": "a\uff0fb\u2044c\uff0cd"}, "a_b_c_d"),
        ("%PatientName", {"PatientName": "a\u202eb\u200bc\u00a0d\ufffde\x85f"}, "a_b_c_d_e_f"),
        ("%PatientName", {"PatientName": "a\udcfcb\nc\0d"}, "a_b_c_d"),
        ("%_md5_PatientName", {"PatientName": "\ud800"}, hashlib.md5(b"\xed\xa0\x80").hexdigest()),
        # names that are none
        ("%SeriesDescription", {"SeriesDescription": ".."}, "_.."),
        ("%SeriesDescription", {"SeriesDescription": "."}, "_."),
        ("%SeriesDescription", {"SeriesDescription": ""}, "_"),
        # an age that cannot be known
        (PUSH_STUDY, {"PatientAge": ABSENT, "PatientBirthDate": ABSENT}, f"{BRAIN}-_PatientAge-_AgeInDays"),
        (PUSH_STUDY, {"PatientAge": ABSENT, "PatientBirthDate": "20200101"}, f"{BRAIN}-_PatientAge-_AgeInDays"),
        (PUSH_STUDY, {"PatientAge": ABSENT, "PatientBirthDate": "20160305"}, f"{BRAIN}-_PatientAge-_AgeInDays"),
        (PUSH_STUDY, {"PatientAge": ABSENT, "PatientBirthDate": "unknown"}, f"{BRAIN}-_PatientAge-_AgeInDays"),
        ("%AgeInDays", {"PatientBirthDate": "20150230"}, "_AgeInDays"),
        ("%AgeInDays", {"PatientBirthDate": "00000101"}, "_AgeInDays"),
        ("%AgeInDays", {"StudyDate": ABSENT}, "_AgeInDays"),
        ("%_pad|9,0_AgeInDays", {"StudyDate": ABSENT}, "_AgeInDays"),
        ("%AgeInDays", {"AgeInDays": "made up", "PatientBirthDate": "20160303"}, "000001d"),
        ("%AgeInDays", {"PatientBirthDate": "2016.03.04"}, "000000d"),
    ],
)  # fmt: skip
def test_corrected(template: str, changes: dict[str, str | None], expected: str) -> None:
    assert component(template, **changes) == expected


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0, "000D"), (6, "006D"), (7, "001W"), (29, "004W"), (30, "001M"), (45, "002M"), (75, "002M"), (364, "012M"), (365, "001Y"), (40_000, "110Y")],
)  # fmt: skip
def test_age_units(days: int, expected: str) -> None:
    birth = date(1900, 1, 1)
    study = birth + timedelta(days=days)
    dates = {"PatientBirthDate": birth.strftime("%Y%m%d"), "StudyDate": study.isoformat()}
    assert age_days(dates) == days
    assert component("%PatientAge", PatientAge=ABSENT, **dates) == expected
    assert component("%AgeInDays", **dates) == f"{days:06d}d"


class TestPseudonym:
    def test_is_the_same_name_for_ever(self) -> None:
        assert component("%_name_PatientName") == "SIZOSDIRIF_LASUKZIHOV_ANON"

    def test_different_values_get_different_names(self) -> None:
        assert len({component("%_name_PatientName", PatientName=f"DOE^{n}") for n in range(2000)}) == 2000

    def test_seed_decides_where_there_is_one(self) -> None:
        seeded = component("%_name|patientID_PatientName")
        assert component("%_name|PatientID_PatientName", PatientName="Doe^J.") == seeded
        assert component("%_name|PatientID_PatientName", PatientID="other") != seeded

    @pytest.mark.parametrize("seed", ["", ABSENT])
    def test_seed_that_is_missing(self, seed: str | None) -> None:
        assert component("%_name|PatientID_PatientName", PatientID=seed) == component("%_name_PatientName")

    def test_absent_and_empty(self) -> None:
        assert component("%_name_PatientName", PatientName=ABSENT) == "_PatientName"
        assert component("x%_name_PatientName", PatientName="") == "x"


class TestParser:
    @pytest.mark.parametrize(
        ("template", "position", "reason"),
        [
            ("%", 1, "no DICOM keyword"),
            ("100%-%PatientID", 4, "no DICOM keyword"),
            ("%PatientID-%%", 12, "no DICOM keyword"),
            ("a%9x", 2, "no DICOM keyword"),
            ("%ÄPatient", 1, "no DICOM keyword"),
            ("x%_md5_", 2, "no DICOM keyword follows the function"),
            ("%_md5|4_-%PatientID", 1, "no DICOM keyword follows the function"),
            ("%_PatientID", 1, "no function name"),
            ("%_md5|4", 1, "a function ends with '_'"),
            ("%_pad|5%PatientID", 1, "a function ends with '_'"),
            ("%_shout_PatientID", 1, "there is no function 'shout'; known are md5, name, nospc, pad, seahash, strmsk"),
            ("%_md5|_PatientID", 1, "md5: ''"),
            ("%_md5|x_PatientID", 1, "md5: 'x'"),
            ("%_md5|-1_PatientID", 1, "md5: '-1'"),
            ("%_seahash|0_PatientID", 1, "seahash: '0'"),
            ("%_strmsk_PatientID", 1, "strmsk needs a mask"),
            ("%_pad|x_PatientID", 1, "pad: the width 'x'"),
            ("%_pad|256_PatientID", 1, "pad: the width '256'"),
            ("%_pad|999999999_PatientID", 1, "pad: the width '999999999'"),
            ("%_pad|5,_PatientID", 1, "pad: it pads with one character"),
            ("%_pad|5,ab_PatientID", 1, "pad: it pads with one character"),
            ("%_name|1x_PatientID", 1, "name: the seed '1x'"),
        ],
    )
    def test_names_position_and_reason(self, template: str, position: int, reason: str) -> None:
        with pytest.raises(InputError, match=f"position {position}: ({reason})") as caught:
            parse_template(template)
        assert "\n" not in str(caught.value)

    def test_empty(self) -> None:
        with pytest.raises(InputError, match="series: path template: it is empty"):
            Templates("a", "b", "", "d")

    def test_says_which_part(self) -> None:
        with pytest.raises(InputError, match=r"^image: path template '%_pad\|q_X', position 1: pad: the width 'q'"):
            Templates("a", "b", "c", "%_pad|q_X")

    def test_long_template_is_shown_short(self) -> None:
        with pytest.raises(InputError) as caught:
            parse_template("x" * 5000 + "%")
        assert len(str(caught.value)) < 250

    def test_compiled_once(self) -> None:
        pack_path(DEFAULT_TEMPLATES, TAGS)
        misses = parse_template.cache_info().misses
        for number in range(100):
            pack_path(DEFAULT_TEMPLATES, {**TAGS, "InstanceNumber": str(number)})
        assert parse_template.cache_info().misses == misses

    def test_keywords(self) -> None:
        assert PYPX_TEMPLATES.keywords() == {
            "PatientID", "PatientName", "PatientBirthDate", "StudyDescription", "AccessionNumber", "StudyDate",
            "SeriesNumber", "SeriesDescription", "InstanceNumber", "SOPInstanceUID",
        }  # fmt: skip
        assert DEFAULT_TEMPLATES.keywords() == PYPX_TEMPLATES.keywords() | {"SeriesInstanceUID"}
        assert PYPX_PUSH_TEMPLATES.keywords() == PYPX_TEMPLATES.keywords() | {"PatientAge"}
        assert parse_template("%AgeInDays").keywords() == {"StudyDate", "PatientBirthDate"}
        assert parse_template("%_name|ageInDays_PatientName").keywords() == {
            "PatientName",
            "StudyDate",
            "PatientBirthDate",
        }
        assert parse_template("%PatientIDx.%_name|issuer_PatientName").keywords() == {
            "PatientIDx",
            "Issuer",
            "PatientName",
        }


class TestLength:
    @pytest.mark.parametrize("text", ["x" * 255, "漢" * 85, "Ä" * 127])
    def test_a_name_that_just_fits_stays(self, text: str) -> None:
        assert legal_component(text) == text

    @pytest.mark.parametrize("text", ["x" * 256, "漢" * 85 + "x", "Ä" * 128])
    def test_one_byte_more_is_cut(self, text: str) -> None:
        made = legal_component(text)
        assert len(made.encode()) <= MAX_FOLDER_BYTES
        assert made[:-17] == text[: len(made) - 17]
        assert made[-17:] == "-" + hashlib.sha256(text.encode()).hexdigest()[:16]

    def test_long_names_stay_distinct_and_are_cut_between_characters(self) -> None:
        made = {legal_component("a" * n + "漢" * 300 + tail) for n in range(3) for tail in ("x", "y")}
        assert len(made) == 6
        for name in made:
            assert 252 <= len(name.encode()) <= MAX_FOLDER_BYTES
            assert name.rstrip("0123456789abcdef").endswith("漢-")

    def test_image_keeps_its_extension(self) -> None:
        path = pack_path(PYPX_TEMPLATES, {**TAGS, "InstanceNumber": "9" * 300})
        assert len(path.image) == MAX_FILE_BYTES
        assert path.image.startswith("9" * 200)
        assert path.image.endswith(".dcm")
        assert path.image != pack_path(PYPX_TEMPLATES, {**TAGS, "InstanceNumber": "9" * 301}).image

    def test_extension_is_the_template_s_own(self) -> None:
        assert parse_template("%SOPInstanceUID.dcm").extension == ".dcm"
        assert parse_template("%SOPInstanceUID").extension == ""
        assert parse_template("%SOPInstanceUID.").extension == ""
        assert parse_template("x.dcm-%SOPInstanceUID").extension == ""

    @pytest.mark.parametrize(
        ("limit", "extension"), [(31, ""), (256, ""), (255, "dcm"), (255, "."), (255, "./x"), (255, ".dcm\n")]
    )
    def test_arguments_out_of_range(self, limit: int, extension: str) -> None:
        with pytest.raises(ValueError, match="out of range"):
            legal_component("x", limit=limit, extension=extension)


ANY_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=300),  # every code point, surrogates too
    st.text("./\\\0\n\r\t ~$%_-:;*?|<>\"'`,aÄ漢\u0301\u202e\u3000\uff0e\ue000", max_size=40),
    st.sampled_from(
        [
            "", ".", "..", "...", "/", "/etc/passwd", "../../x", "..\\..\\x", "\0", "a\0b", "\n", "a\nb", "~root", "$(id)", "a;b", "%PatientID",
            "%_pad|5,0_PatientID", "CON", "nul.dcm", "-rf", "--", "x" * 300, "漢" * 300, "e\u0301" * 300, "\u0301", "\U0001f600" * 90, "._x", "MÜLLER^JÖRG",
            "\ud800", "\udcff", "2\uff0f3", "\u2024\u2024", "\u2488", " ", "\x85", "a,b",
        ]
    ),
)  # fmt: skip
ANY_TAGS = st.dictionaries(st.sampled_from(sorted([*TAGS, "AgeInDays", "Modality"])), ANY_TEXT, max_size=15)
ALL_FUNCTIONS = Templates(
    "%SeriesDescription",
    "%_nospc_PatientName%_pad|255,/_PatientID",
    "%_strmsk|../*_PatientID%_name|patientID_PatientName-%_md5_StudyDate-%_seahash|7_StudyDate",
    "%PatientAge%AgeInDays%SOPInstanceUID.dcm",
)
PROPERTY = settings(max_examples=300, deadline=None, database=None)


def check_component(name: str, limit: int) -> None:
    assert name not in {"", ".", ".."}
    assert 1 <= len(name.encode("utf-8")) <= limit
    assert not set(name) & set("/\\\0,%:*?\"'<>|$`; ")
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Cn", "Zs", "Zl", "Zp"} for c in name)
    assert unicodedata.is_normalized("NFC", name)
    assert "__" not in name


@PROPERTY
@given(
    templates=st.sampled_from([PYPX_TEMPLATES, DEFAULT_TEMPLATES, PYPX_PUSH_TEMPLATES, ALL_FUNCTIONS]), tags=ANY_TAGS
)
def test_nothing_escapes(templates: Templates, tags: dict[str, str]) -> None:
    path = pack_path(templates, tags)
    for name in (path.root, path.study, path.series):
        check_component(name, MAX_FOLDER_BYTES)
    check_component(path.image, MAX_FILE_BYTES)
    assert path.image.endswith(".dcm")
    assert len(path.file.parts) == 4
    assert not path.file.is_absolute()
    root = Path("/srv/basemount/data")
    assert Path(root, path.file).resolve().parent.parent.parent.parent == root
    assert pack_path(templates, dict(reversed(tags.items()))) == path


@PROPERTY
@given(template=ANY_TEXT)
def test_a_template_is_compiled_or_refused_in_one_line(template: str) -> None:
    try:
        compiled = parse_template(template)
    except InputError as error:
        message = str(error)
    else:
        message = ""
        check_component(legal_component(compiled.render(TAGS)), MAX_FOLDER_BYTES)
    assert len(message.splitlines()) <= 1


@PROPERTY
@given(text=st.text(st.characters(max_codepoint=127), max_size=255))
def test_ascii_reads_as_in_pypx(text: str) -> None:
    expected = re.sub(r"[^A-Za-z0-9\.\-]+", "_", text)
    assert legal_component(text) == (f"_{expected}" if expected in {"", ".", ".."} else expected)


LETTERS = st.text(st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Mn", "Mc"]), min_size=1, max_size=120)


@PROPERTY
@given(first=LETTERS, second=LETTERS)
def test_different_names_give_different_components(first: str, second: str) -> None:
    same = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second)
    assert (legal_component(first) == legal_component(second)) is same


@PROPERTY
@given(text=ANY_TEXT)
def test_a_legal_component_is_left_alone(text: str) -> None:
    made = legal_component(text)
    assert legal_component(made) == made
