"""The order of COCO categories."""


def order_by_name() -> None:
    """Let MMDetection number categories in the order of the names that it asks for, not in that of the file.

    Data sets and metrics both ask for the ids of ``metainfo.classes`` and take the place in the answer for the label.
    """
    from mmdet.datasets.api_wrappers import COCO  # an optional dependency
    if getattr(COCO.get_cat_ids, 'by_name', False):
        return
    in_file_order = COCO.get_cat_ids

    def get_cat_ids(self, cat_names=(), sup_names=(), cat_ids=()) -> list[int]:
        found = in_file_order(self, cat_names, sup_names, cat_ids)
        if isinstance(cat_names, str) or not cat_names:
            return found
        return sorted(found, key=lambda cat_id: list(cat_names).index(self.cats[cat_id]['name']))

    get_cat_ids.by_name = True
    COCO.get_cat_ids = get_cat_ids
